//! Command lines of the form `tool WORD --name value --name value`.

use std::str::FromStr;

/// The options that were given, in order.
#[derive(Debug)]
pub struct Options {
    word: Option<String>,
    pairs: Vec<(String, String)>,
}

impl Options {
    /// Reads `args` without the program's name: at most one word first, then pairs of `--name value`.
    ///
    /// # Errors
    /// Says which argument is not of that form.
    pub fn read(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut args = args.into_iter().peekable();
        let word = args.next_if(|first| !first.starts_with("--"));
        let mut pairs = Vec::new();

        while let Some(argument) = args.next() {
            let name = argument.strip_prefix("--").ok_or_else(|| format!("`{argument}` is not an option"))?;
            let value = args.next().ok_or_else(|| format!("`--{name}` needs a value"))?;
            pairs.push((name.to_owned(), value));
        }

        Ok(Self { word, pairs })
    }

    /// The word before the options.
    pub fn word(&self) -> Option<&str> {
        self.word.as_deref()
    }

    /// Every value of an option that may be given often.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The value of an option that must be there.
    ///
    /// # Errors
    /// Says which option is missing or does not read as what it should be.
    pub fn one<T: FromStr>(&self, name: &str) -> Result<T, String> {
        let value = self.all(name).last().ok_or_else(|| format!("`--{name}` is missing"))?;
        value.parse().map_err(|_| format!("`--{name} {value}` cannot be read"))
    }

    /// The value of an option, or `default` where it is not given.
    ///
    /// # Errors
    /// Says which option does not read as what it should be.
    pub fn one_or<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        if self.all(name).next().is_none() { Ok(default) } else { self.one(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        Options::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_word_and_options_are_read_and_an_option_may_be_given_often() {
        let options = options("open --rate 1000 --header a --header b").unwrap();

        assert_eq!(options.word(), Some("open"));
        assert_eq!(options.one::<u32>("rate"), Ok(1000));
        assert_eq!(options.all("header").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(options.one_or("seconds", 3), Ok(3));
    }

    #[test]
    fn a_mistake_names_the_option() {
        assert_eq!(options("open rate").unwrap_err(), "`rate` is not an option");
        assert_eq!(options("--rate").unwrap_err(), "`--rate` needs a value");
        assert_eq!(options("--rate x").unwrap().one::<u32>("rate").unwrap_err(), "`--rate x` cannot be read");
    }
}
