//! The words of a store's report, the same for every store.

use std::error::Error;

use crate::port::Role;

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

/// What is wrong with a store that stands beyond the end of its log.
pub fn ahead_of_log(role: Role, place: &str, stands: u64, end: u64) -> String {
    format!(
        "the store sink.{} stands at {stands} on {place}, which ends at {end}: it was filled from another or a newer log; restore the \
         log with a raised generation, or {}",
        role.name(),
        role.remedy()
    )
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
    use super::{grouped, told};

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

    #[test]
    fn numbers_are_grouped_by_three() {
        let texts: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
