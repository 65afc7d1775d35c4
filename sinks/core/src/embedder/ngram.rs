//! The built-in embedder: character n-grams, hashed into 256 dimensions.
//!
//! Guarantees: the same text gives the same vector on every machine and in every release of [`NgramEmbedder::IDENTITY`]; every
//! vector has length one and none is zero; a part of a text, or a text with a wrong character, shares most of its n-grams with
//! the whole and so lies near it, in Chinese as in Latin script.
//! Deliberately not: an understanding of meaning. Who needs that configures the HTTP embedder.

use async_trait::async_trait;
use xxhash_rust::xxh3::xxh3_64;

use super::{EmbedError, Embedder};

/// Wider vectors collide less and cost every store more: at 256, two unrelated profiles share about 6 % of their weight.
const DIMENSIONS: usize = 256;

/// Stands before and after each word, so that the first and last characters count as such.
const EDGE: char = '\u{2}';

/// The weight of one n-gram by its length in characters: longer ones say more about the text.
const WEIGHTS: [f32; 3] = [0.6, 1.0, 1.2];

/// Character n-grams, hashed.
#[derive(Debug, Clone, Copy, Default)]
pub struct NgramEmbedder;

impl NgramEmbedder {
    /// Name and version: whoever changes a vector changes this.
    pub const IDENTITY: &'static str = "ngram-256-v1";

    /// The vector of a text: 256 numbers, length one.
    pub fn vector(text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; DIMENSIONS];
        for word in words(text) {
            for (length, weight) in (1..).zip(WEIGHTS) {
                for gram in word.windows(length) {
                    // a lone edge marks nothing
                    if gram.iter().any(|character| *character != EDGE) {
                        add(&mut vector, gram, weight);
                    }
                }
            }
        }
        normalise(&mut vector);
        vector
    }
}

#[async_trait]
impl Embedder for NgramEmbedder {
    fn identity(&self) -> String {
        Self::IDENTITY.to_owned()
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(texts.iter().map(|text| Self::vector(text)).collect())
    }
}

/// Runs of letters and digits in lower case, each between two edges.
fn words(text: &str) -> Vec<Vec<char>> {
    let mut words = Vec::new();
    let mut word = vec![EDGE];
    for character in text.chars().chain(Some(' ')) {
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        } else if word.len() > 1 {
            word.push(EDGE);
            words.push(std::mem::replace(&mut word, vec![EDGE]));
        }
    }
    words
}

/// Adds one n-gram at the place that its hash says, with the sign that its hash says, so that collisions cancel on average.
fn add(vector: &mut [f32], gram: &[char], weight: f32) {
    let mut bytes = [0_u8; 12];
    let mut length = 0;
    for character in gram {
        length += character.encode_utf8(&mut bytes[length..]).len();
    }
    let hash = xxh3_64(&bytes[..length]);
    let place = usize::try_from(hash % DIMENSIONS as u64).expect("below 256");
    vector[place] += if hash >> 63 == 0 { weight } else { -weight };
}

/// To length one, after damping what repeats. A text without a letter or digit, and one whose n-grams cancel, points along the
/// first axis: not zero, and near nothing else.
fn normalise(vector: &mut [f32]) {
    for value in vector.iter_mut() {
        *value = value.signum() * value.abs().sqrt();
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    } else {
        vector[0] = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(left: &str, right: &str) -> f32 {
        NgramEmbedder::vector(left).iter().zip(NgramEmbedder::vector(right)).map(|(a, b)| a * b).sum()
    }

    /// 240 profiles that differ in name, concern and remark.
    fn profiles() -> Vec<String> {
        const SURNAMES: [&str; 8] = ["张", "王", "李", "赵", "陈", "刘", "杨", "周"];
        const GIVEN: [&str; 5] = ["小红", "丽华", "建国", "思远", "雨桐"];
        const CONCERNS: [&str; 6] = ["敏感肌 抗衰老", "祛斑 美白", "玻尿酸填充", "水光针 补水", "热玛吉 紧致", "肉毒素 除皱"];
        let mut profiles = Vec::new();
        for surname in SURNAMES {
            for given in GIVEN {
                for concern in CONCERNS {
                    profiles.push(format!("{surname}{given}\n会员 金卡\n{concern}\n皮肤敏感，注意产品选择"));
                }
            }
        }
        profiles
    }

    fn rank(query: &str, expected: &[&str]) -> usize {
        let profiles = profiles();
        let mut ranked: Vec<_> = profiles.iter().map(|profile| (similarity(query, profile), profile)).collect();
        ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
        ranked.iter().position(|(_, profile)| expected.iter().all(|part| profile.contains(part))).unwrap()
    }

    #[test]
    fn a_part_of_a_phrase_finds_its_record() {
        assert_eq!(rank("赵思远 热玛吉", &["赵思远", "热玛吉"]), 0);
        assert_eq!(rank("雨桐 玻尿酸", &["雨桐", "玻尿酸"]), 0);
    }

    #[test]
    fn a_misspelt_phrase_finds_its_record_among_the_first() {
        // 热玛机 for 热玛吉; 波尿酸 for 玻尿酸
        assert!(rank("陈丽华 热玛机紧致", &["陈丽华", "热玛吉"]) < 3);
        assert!(rank("周建国 波尿酸填充", &["周建国", "玻尿酸"]) < 3);
    }

    #[test]
    fn no_vector_is_zero_and_each_has_length_one() {
        for text in ["", "   ", "！？", "a", "张小红", &"重复".repeat(5_000), "😀"] {
            let length: f32 = NgramEmbedder::vector(text).iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-4, "{text:?} has squared length {length}");
        }
    }

    #[test]
    fn case_and_punctuation_do_not_count() {
        assert!((similarity("BOTOX-100U", "botox 100u") - 1.0).abs() < 1e-5);
    }
}
