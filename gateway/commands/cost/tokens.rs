//! `causeway cost tokens`: how many tokens a text really has, and how far the gateway's own estimate is from that.
//!
//! A tokenizer reads a few megabytes a second and its vocabulary takes a third of a second to load. So nothing that serves
//! requests counts like this: there a text is taken for four bytes a token, and for what its app's answers reported since.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use accounting::BYTES_PER_TOKEN;
use clap::ValueEnum;
use serde_json::json;

use crate::commands::UNKNOWN;

/// What to count.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// The text; `-` reads standard input.
    file: PathBuf,
    /// The vocabulary of the model that reads it.
    #[arg(long, value_enum, default_value = "o200k")]
    encoding: Encoding,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Encoding {
    /// GPT-4o, GPT-4.1, GPT-5 and the o series.
    O200k,
    /// GPT-4, GPT-3.5 and the embedding models of the third generation.
    Cl100k,
}

impl Encoding {
    const fn name(self) -> &'static str {
        match self {
            Self::O200k => "o200k_base",
            Self::Cl100k => "cl100k_base",
        }
    }

    fn count(self, text: &str) -> Result<usize, String> {
        let vocabulary = match self {
            Self::O200k => tiktoken_rs::o200k_base(),
            Self::Cl100k => tiktoken_rs::cl100k_base(),
        };
        // Words that stand for a control token are text here, as they are in a message.
        Ok(vocabulary.map_err(|error| error.to_string())?.encode_ordinary(text).len())
    }
}

/// Most bytes that are counted.
const MOST_BYTES: u64 = 64 << 20;

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let counted = read(&arguments.file).and_then(|text| Ok((text.len(), arguments.encoding.count(&text)?)));
    match counted {
        Ok((bytes, tokens)) => {
            print!("{}", answer(arguments, bytes, tokens));
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("{}: {fault}", arguments.file.display());
            ExitCode::from(UNKNOWN)
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MOST_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
    };
    match read {
        Ok(bytes) if bytes as u64 > MOST_BYTES => Err(format!("it is larger than {MOST_BYTES} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

fn answer(arguments: &Arguments, bytes: usize, tokens: usize) -> String {
    let estimate = (bytes as u64).div_ceil(BYTES_PER_TOKEN);
    let per_token = bytes as f64 / tokens.max(1) as f64;
    let encoding = arguments.encoding.name();
    if arguments.json {
        let value = json!({ "encoding": encoding, "bytes": bytes, "tokens": tokens, "estimate": estimate,
                            "bytes_per_token": per_token });
        return format!("{value}\n");
    }
    let off = (estimate as f64 / tokens.max(1) as f64 - 1.0) * 100.0;
    format!(
        "{tokens} tokens of {encoding} in {bytes} bytes, {per_token:.2} bytes a token\n\
         estimated before anybody has counted: {estimate}, which is {off:+.0} %\n"
    )
}
