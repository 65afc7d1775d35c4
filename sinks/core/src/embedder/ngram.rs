//! The built-in embedder: hashed character n-grams, 256 dimensions, no model and no network.
//!
//! It finds what is *written alike*: a name with one wrong character, part of a phrase, words in another order. It knows no
//! meaning. Text is lower-cased and cut at blanks and punctuation into pieces; a piece in ideographs gives its characters,
//! pairs and triples, with marks at its ends; a piece in Latin letters or digits gives itself and its triples, and counts
//! less, since codes and dates are alike in many records. What stands before a full-width colon is a label, alike in *every*
//! record of a template, and counts least.
//!
//! Each n-gram's xxh3 chooses a dimension and a sign, so that collisions cancel rather than add up. A repeated n-gram counts by
//! 1 + ln(times). Deterministic: no seed, no state.

use async_trait::async_trait;
use xxhash_rust::xxh3::xxh3_64;

use super::{EmbedError, Embedder, normalise};

/// Dimensions of a vector.
pub const DIMENSIONS: usize = 256;

/// Changes when the same text would give another vector.
const IDENTITY: &str = "ngram-256/1";

/// Weight of a single ideograph, a pair and a triple: the longer, the more it tells records apart, while misspellings break
/// the longer ones first.
const WEIGHTS: [f32; 3] = [0.6, 1.0, 0.8];
/// Weight of a Latin word or number as a whole, and of each triple in it.
const WORD_WEIGHT: f32 = 0.7;
const WORD_TRIPLE_WEIGHT: f32 = 0.3;
/// What the label before a colon is scaled by.
const LABEL_SCALE: f32 = 0.1;
/// Marks the ends of a piece; a control character, so that no text holds it.
const EDGE: char = '\u{1}';
/// The n-gram of a text that has none (only punctuation).
const NOTHING: &str = "\u{2}";

/// The built-in embedder.
#[derive(Debug, Clone, Copy, Default)]
pub struct NgramEmbedder;

#[async_trait]
impl Embedder for NgramEmbedder {
    fn identity(&self) -> String {
        IDENTITY.to_owned()
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn is_at_hand(&self) -> bool {
        true
    }

    async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut grams = Grams::default();
        Ok(texts.iter().map(|text| embed_with(&mut grams, text)).collect())
    }
}

/// The vector of one text.
pub fn embed(text: &str) -> Vec<f32> {
    embed_with(&mut Grams::default(), text)
}

fn embed_with(grams: &mut Grams, text: &str) -> Vec<f32> {
    let text = text.to_lowercase();
    for line in text.lines() {
        for segment in line.split(['，', ',', '；', ';', '。']) {
            match segment.split_once('：') {
                Some((label, value)) => {
                    grams.segment(label, LABEL_SCALE);
                    grams.segment(value, 1.0);
                }
                None => grams.segment(segment, 1.0),
            }
        }
    }
    grams.take_vector()
}

/// The n-grams of the text in hand; what it holds is reused from text to text.
#[derive(Default)]
struct Grams {
    /// Hash and weight of every n-gram, repeats included: sorted and counted at the end, which costs a text of some dozens of
    /// n-grams far less than a hash map.
    counted: Vec<(u64, f32)>,
    /// Reused: the characters of the piece in hand, its marks included, as text and as starts of each character in it.
    piece: String,
    starts: Vec<usize>,
}

impl Grams {
    fn segment(&mut self, segment: &str, scale: f32) {
        let mut kind = Kind::Between;
        self.piece.clear();
        for character in segment.chars() {
            let next = Kind::of(character);
            if next != kind {
                self.finish(kind, scale);
                kind = next;
            }
            if kind != Kind::Between {
                if self.piece.is_empty() {
                    self.push(EDGE);
                }
                self.push(character);
            }
        }
        self.finish(kind, scale);
    }

    fn push(&mut self, character: char) {
        self.starts.push(self.piece.len());
        self.piece.push(character);
    }

    fn finish(&mut self, kind: Kind, scale: f32) {
        if !self.piece.is_empty() {
            self.push(EDGE);
            let piece = std::mem::take(&mut self.piece);
            let starts = std::mem::take(&mut self.starts);
            if kind == Kind::Ideographs {
                self.ideographs(&piece, &starts, scale);
            } else {
                self.count(&piece, WORD_WEIGHT * scale);
                self.windows(&piece, &starts, 3, WORD_TRIPLE_WEIGHT * scale);
            }
            self.piece = piece;
            self.starts = starts;
        }
        self.piece.clear();
        self.starts.clear();
    }

    fn ideographs(&mut self, piece: &str, starts: &[usize], scale: f32) {
        let inner = &starts[1..];
        for pair in inner.windows(2) {
            self.count(&piece[pair[0]..pair[1]], WEIGHTS[0] * scale);
        }
        self.windows(piece, starts, 2, WEIGHTS[1] * scale);
        self.windows(piece, starts, 3, WEIGHTS[2] * scale);
    }

    /// Every run of `length` characters.
    fn windows(&mut self, piece: &str, starts: &[usize], length: usize, weight: f32) {
        for first in 0..(starts.len() + 1).saturating_sub(length) {
            let end = starts.get(first + length).copied().unwrap_or(piece.len());
            self.count(&piece[starts[first]..end], weight);
        }
    }

    fn count(&mut self, gram: &str, weight: f32) {
        self.counted.push((xxh3_64(gram.as_bytes()), weight));
    }

    fn take_vector(&mut self) -> Vec<f32> {
        // Sums of floats depend on their order: by hash, whatever the order in the text.
        self.counted.sort_unstable_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)));
        let mut vector = vec![0.0_f32; DIMENSIONS];
        for repeats in self.counted.chunk_by(|left, right| left.0 == right.0) {
            // The last of equal hashes has the largest weight.
            let (hash, weight) = repeats[repeats.len() - 1];
            add(&mut vector, hash, weight * (1.0 + (repeats.len() as f32).ln()));
        }
        self.counted.clear();
        if !normalise(&mut vector) {
            vector.fill(0.0);
            add(&mut vector, xxh3_64(NOTHING.as_bytes()), 1.0);
        }
        vector
    }
}

fn add(vector: &mut [f32], hash: u64, weight: f32) {
    let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
    vector[(hash % DIMENSIONS as u64) as usize] += sign * weight;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Blanks and punctuation.
    Between,
    /// Latin and other alphabetic letters, digits.
    Word,
    /// Chinese, Japanese, Korean: no blanks between words.
    Ideographs,
}

impl Kind {
    fn of(character: char) -> Self {
        match character {
            '\u{2E80}'..='\u{2FDF}' | '\u{3040}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}' => {
                Self::Ideographs
            }
            '\u{20000}'..='\u{3FFFF}' => Self::Ideographs,
            _ if character.is_alphanumeric() => Self::Word,
            // Emoji and other symbols say something too; each is like a character of its own.
            _ if character.is_ascii() || character.is_whitespace() || character.is_control() => Self::Between,
            '\u{3000}'..='\u{303F}' | '\u{FF00}'..='\u{FFEF}' | '\u{2000}'..='\u{206F}' => Self::Between,
            _ => Self::Ideographs,
        }
    }
}

#[cfg(test)]
mod tests;
