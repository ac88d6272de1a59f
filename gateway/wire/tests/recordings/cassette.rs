//! Reads recorded exchanges in the forms that their recorders write.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_norway::Value as Yaml;

/// One request and its reply.
pub(crate) struct Exchange {
    pub(crate) file: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) request: Option<Vec<u8>>,
    pub(crate) reply: Vec<u8>,
}

impl Exchange {
    /// Whether the reply is a stream of events; content types were often lost in recording.
    pub(crate) fn is_stream(&self) -> bool {
        let start = self.reply.trim_ascii_start();
        [&b"data:"[..], b"event:", b":"].iter().any(|field| start.starts_with(field))
    }
}

/// Every exchange in the folder that can be read.
pub(crate) fn read_all(folder: &Path) -> Vec<Exchange> {
    let mut files = Vec::new();
    list(folder, &mut files);
    files.sort();
    files.iter().flat_map(|file| read(file)).collect()
}

/// Name and text of each file in a folder of plain fixtures.
pub(crate) fn read_fixtures(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    list(folder, &mut files);
    files.sort();
    let named = |file: &PathBuf| Some((file.file_name()?.to_str()?.to_owned(), fs::read_to_string(file).ok()?));
    files.iter().filter_map(named).collect()
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> Vec<Exchange> {
    let name = file.to_string_lossy().into_owned();
    let Ok(text) = fs::read_to_string(file) else { return Vec::new() };
    // JSON is YAML, so one parser reads both.
    let document: Yaml = match serde_norway::from_str(&text) {
        Ok(document) => document,
        Err(error) => {
            crate::say(&format!("unreadable: {name}: {error}"));
            return Vec::new();
        }
    };
    let list = document.get("interactions").or_else(|| document.get("http_interactions"));
    let interactions: Vec<&Yaml> = match list.and_then(Yaml::as_sequence) {
        Some(list) => list.iter().collect(),
        None => vec![&document],
    };
    interactions.into_iter().filter_map(|interaction| exchange(&name, interaction)).collect()
}

fn exchange(file: &str, interaction: &Yaml) -> Option<Exchange> {
    let request = interaction.get("request")?;
    let response = interaction.get("response")?;
    let url = text(request.get("uri").or_else(|| request.get("url"))?)?;
    let behind_host = url.split_once("://")?.1;
    let path = behind_host.find('/').and_then(|at| behind_host.get(at..))?;
    let path = path.split('?').next().unwrap_or_default();
    Some(Exchange {
        file: file.to_owned(),
        method: text(request.get("method")?)?,
        path: path.to_owned(),
        request: body(request),
        reply: body(response).unwrap_or_default(),
    })
}

/// The body, wherever the recorder put it.
fn body(message: &Yaml) -> Option<Vec<u8>> {
    if let Some(parsed) = message.get("parsed_body") {
        return serde_json::to_vec(parsed).ok();
    }
    let body = message.get("body").or_else(|| message.get("content"))?;
    let inner = body.get("string").or_else(|| body.get("base64_string")).unwrap_or(body);
    Some(unpacked(text(inner)?))
}

fn text(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Tagged(tagged) => text(&tagged.value),
        _ => None,
    }
}

/// Undoes base64 and compression where the recorder kept either.
fn unpacked(text: String) -> Vec<u8> {
    let start = text.trim_start();
    if start.is_empty()
        || start.starts_with(['{', '[', ':'])
        || start.starts_with("data:")
        || start.starts_with("event:")
    {
        return text.into_bytes();
    }
    let joined: String = text.split_ascii_whitespace().collect();
    let Ok(bytes) = STANDARD.decode(joined) else { return text.into_bytes() };
    let mut plain = Vec::new();
    if bytes.starts_with(&[0x1F, 0x8B]) && flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).is_ok() {
        return plain;
    }
    plain.clear();
    if std::str::from_utf8(&bytes).is_err()
        && brotli::Decompressor::new(&bytes[..], 4096).read_to_end(&mut plain).is_ok()
    {
        return plain;
    }
    bytes
}
