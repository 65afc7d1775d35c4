//! The words of a store's report, the same for every store.

use std::error::Error;

/// An error with its causes, on one line. A cause that the text ends with already, as some libraries write theirs, is not repeated.
pub fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = inner.source();
    }
    text
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::told;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Told>>,
    }

    fn of(texts: &[&'static str]) -> Told {
        let [text, causes @ ..] = texts else { unreachable!("an error has a text") };
        Told { text, source: (!causes.is_empty()).then(|| Box::new(of(causes))) }
    }

    #[test]
    fn each_cause_is_told_once() {
        assert_eq!(told(&of(&["opening", "no answer", "refused"])), "opening: no answer: refused");
        assert_eq!(told(&of(&["network error: no answer", "no answer", "refused"])), "network error: no answer: refused");
        assert_eq!(told(&of(&["opening"])), "opening");
    }
}
