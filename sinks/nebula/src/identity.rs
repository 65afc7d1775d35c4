//! Vertex ids: `<entity>:<key>`, or `<entity>:#<sha-256 of the key>` where that is longer than a space's ids.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::schema::VID_BYTES;

/// The id of a vertex named `<entity>:<key>`.
pub(crate) fn vid(vertex: &str) -> String {
    if vertex.len() <= VID_BYTES {
        return vertex.to_owned();
    }
    let (entity, key) = vertex.split_once(':').unwrap_or(("", vertex));
    let mut out = format!("{entity}:#");
    for byte in Sha256::digest(key.as_bytes()) {
        write!(out, "{byte:02x}").expect("a text takes what is written to it");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::vid;

    #[test]
    fn only_long_ids_are_hashed() {
        let fits = format!("customer:{}", "医".repeat(82));
        assert_eq!(fits.len(), 255);
        assert_eq!(vid(&fits), fits);
        assert_eq!(vid(&format!("{fits}a")), format!("{fits}a"));
        let long = format!("{fits}ab");
        let hashed = vid(&long);
        assert!(hashed.starts_with("customer:#") && hashed.len() == 74, "{hashed}");
        assert_ne!(hashed, vid(&format!("{fits}ac")));
        assert_eq!(
            vid(&format!("customer:{}", "a".repeat(300))),
            "customer:#9835fa6bf4e20a9b9ea812506302e98982721a6cf8d2cae67af57129bf21ae90"
        );
    }
}
