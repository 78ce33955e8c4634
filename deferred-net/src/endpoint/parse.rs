//! The text form of endpoints.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// The error of a text that is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEndpoint {
    text: String,
    why: String,
}

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the endpoint {:?} is not valid: {}", self.text, self.why)
    }
}

impl Error for InvalidEndpoint {}

/// The parts of an endpoint: its kind, arguments by position, and arguments by name.
pub(super) struct Description<'a> {
    text: &'a str,
    pub(super) kind: String,
    positional: std::vec::IntoIter<String>,
    named: Vec<(String, String)>,
}

impl<'a> Description<'a> {
    /// Splits a text at its colons. A backslash quotes the character after it.
    pub(super) fn parse(text: &'a str) -> Result<Description<'a>, InvalidEndpoint> {
        let mut parts = vec![(String::new(), None)];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let (part, equals) = parts.last_mut().expect("there is one from the start");
            match character {
                ':' => parts.push((String::new(), None)),
                '=' if equals.is_none() => {
                    *equals = Some(part.len());
                    part.push('=');
                }
                '\\' => match characters.next() {
                    Some(quoted) => part.push(quoted),
                    None => return Err(invalid(text, "a backslash at the end quotes nothing")),
                },
                character => part.push(character),
            }
        }
        let mut parts = parts.into_iter();
        let (kind, _) = parts.next().expect("there is one from the start");
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        for (part, equals) in parts {
            match equals {
                Some(at) => named.push((part[..at].to_owned(), part[at + 1..].to_owned())),
                None if named.is_empty() => positional.push(part),
                None => {
                    return Err(invalid(text, format!("{part:?} has no name, after arguments that have")));
                }
            }
        }
        Ok(Description { text, kind, positional: positional.into_iter(), named })
    }

    /// Returns the next argument by position, or the one with that name.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        match self.named.iter().position(|(named, _)| named == name) {
            Some(at) => Some(self.named.remove(at).1),
            None => self.positional.next(),
        }
    }

    /// Returns the argument with that name.
    pub(super) fn option(&mut self, name: &str) -> Option<String> {
        let at = self.named.iter().position(|(named, _)| named == name)?;
        Some(self.named.remove(at).1)
    }

    /// Like [`take`](Self::take), for an argument that is required.
    pub(super) fn require(&mut self, name: &str) -> Result<String, InvalidEndpoint> {
        let taken = self.take(name).filter(|value| !value.is_empty());
        taken.ok_or_else(|| self.invalid(format!("the {name} is missing")))
    }

    pub(super) fn number<T: FromStr<Err: fmt::Display>>(&self, name: &str, value: &str) -> Result<T, InvalidEndpoint> {
        value.parse().map_err(|error| self.invalid(format!("{name} is {value:?}: {error}")))
    }

    /// Returns an error if arguments are left.
    pub(super) fn finish(mut self) -> Result<(), InvalidEndpoint> {
        let left = self.named.pop().map(|(name, _)| name).or_else(|| self.positional.next());
        left.map_or(Ok(()), |left| Err(self.invalid(format!("the argument {left:?} is unknown"))))
    }

    pub(super) fn invalid(&self, why: impl Into<String>) -> InvalidEndpoint {
        invalid(self.text, why)
    }
}

fn invalid(text: &str, why: impl Into<String>) -> InvalidEndpoint {
    InvalidEndpoint { text: text.to_owned(), why: why.into() }
}

/// Puts an IPv6 address in brackets.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
