//! Through all entries of all logs, oldest first within each.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::bundle::Entries;
use super::super::epoch::{DIGITS, is_origin, read_bundle};
use super::super::tree::TILE;

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
pub struct Stand<'a> {
    /// The gateway that wrote it.
    pub origin: &'a str,
    /// The epoch.
    pub epoch: &'a str,
    /// Its place in the epoch, from 0.
    pub index: u64,
}

/// Shows every whole entry to `see`, which is asked about each bundle first: `wants` sees its bytes and may pass it over.
///
/// It reads what is there and checks nothing; [`super::verify`] does. Bundles that were retired are passed over.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn scan(
    folder: &Path,
    wants: impl Fn(&[u8]) -> bool,
    mut see: impl FnMut(Stand<'_>, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    for origin in names(folder, is_origin)? {
        let home = folder.join(&origin);
        for epoch in names(&home, |name| name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit()))? {
            let path = home.join(&epoch);
            let last = last_bundle(&path)?;
            for number in 0..=last.unwrap_or(0) {
                let Some(bytes) = read_bundle(&path, number)?.filter(|bytes| wants(bytes)) else { continue };
                for (at, entry) in Entries::new(&bytes).map_while(Result::ok).enumerate() {
                    see(Stand { origin: &origin, epoch: &epoch, index: number * TILE + at as u64 }, entry)?;
                }
            }
        }
    }
    Ok(())
}

/// A bundle that there may be: its epoch's folder and its number.
pub(super) type Place = (Arc<Path>, u64);

/// Every bundle of every log, in the order of [`scan`].
pub(super) fn places(folder: &Path) -> io::Result<Vec<Place>> {
    let mut places = Vec::new();
    for origin in names(folder, is_origin)? {
        let home = folder.join(&origin);
        for epoch in names(&home, |name| name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit()))? {
            let path: Arc<Path> = home.join(&epoch).into();
            let last = last_bundle(&path)?;
            places.extend((0..=last.unwrap_or(0)).map(|number| (Arc::clone(&path), number)));
        }
    }
    Ok(places)
}

/// Shows the whole entries of one bundle; one that was retired has none.
pub(super) fn entries_of((epoch, number): &Place, see: impl FnMut(&[u8])) -> io::Result<()> {
    if let Some(bytes) = read_bundle(epoch, *number)? {
        Entries::new(&bytes).map_while(Result::ok).for_each(see);
    }
    Ok(())
}

fn names(folder: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_ours(&name) && entry.file_type()?.is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The number of an epoch's last bundle; earlier ones may be retired.
pub(in super::super) fn last_bundle(epoch: &Path) -> io::Result<Option<u64>> {
    let mut folder = epoch.join("tile/entries");
    let mut number = 0;
    loop {
        let mut deeper = None;
        let mut last = None;
        let listing = match std::fs::read_dir(&folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        for entry in listing {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let digits = name.strip_suffix(".p").unwrap_or(&name);
            match digits.strip_prefix('x').map(str::parse::<u64>) {
                Some(Ok(part)) => deeper = deeper.max(Some((part, name.clone()))),
                Some(Err(_)) => {}
                None => last = last.max(digits.parse::<u64>().ok()),
            }
        }
        let Some((part, name)) = deeper else { return Ok(last.map(|last| number * 1000 + last)) };
        number = number * 1000 + part;
        folder.push(name);
    }
}
