//! Where the server is and what is ours there.

use std::fmt;
use std::time::Duration;

/// Longest prefix: the server takes names of 255 bytes, and files are named by them.
const PREFIX_MAX: usize = 64;

/// Where the vector store is and how it is spoken to.
#[derive(Clone)]
pub struct QdrantOptions {
    /// `http://127.0.0.1:6334`, the gRPC port; `https://` by the system's authorities.
    pub url: String,
    /// Before every collection name.
    pub prefix: String,
    /// Sent with every call, where the server wants one.
    pub api_key: Option<String>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a call may take.
    pub request_timeout: Duration,
}

impl QdrantOptions {
    /// At this address, under this prefix.
    pub fn new(url: String, prefix: String) -> Self {
        Self {
            url,
            prefix,
            api_key: None,
            connect_timeout: Duration::from_secs(5),
            // The client's own default of 5 s is too short for a large request to a busy server, and a request that is given up may
            // still be applied.
            request_timeout: Duration::from_secs(60),
        }
    }

    /// What is wrong with them, each with what to write instead.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match self.url.split_once("://") {
            Some(("http" | "https", place)) if is_host_and_port(place.trim_end_matches('/')) => {}
            _ => problems
                .push("`url` must be `http://host:port` or `https://host:port` of the gRPC port, by default 6334".to_owned()),
        }
        let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        if self.prefix.len() > PREFIX_MAX || !self.prefix.chars().all(fits) {
            problems.push(format!("`prefix` must be at most {PREFIX_MAX} letters, digits, `_` or `-`"));
        }
        // The client shows one that it cannot send.
        if self.api_key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            problems.push("`api_key` must be printable ASCII without blanks".to_owned());
        }
        problems
    }

    /// For messages.
    pub(crate) fn place(&self) -> String {
        let prefix = if self.prefix.is_empty() { String::new() } else { format!(", prefix {}", self.prefix) };
        format!("Qdrant at {}{prefix}", self.url)
    }
}

fn is_host_and_port(place: &str) -> bool {
    let Some((host, port)) = place.rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains(['/', '@', '?', '#']) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl fmt::Debug for QdrantOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("QdrantOptions")
            .field("url", &self.url)
            .field("prefix", &self.prefix)
            .field("api_key", &self.api_key.as_ref().map(|_| "***"))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::QdrantOptions;

    fn problems(url: &str, prefix: &str, api_key: Option<&str>) -> usize {
        let mut options = QdrantOptions::new(url.to_owned(), prefix.to_owned());
        options.api_key = api_key.map(str::to_owned);
        options.problems().len()
    }

    #[test]
    fn what_cannot_work_is_told() {
        for url in ["http://127.0.0.1:6334", "https://qdrant.example.com:6334/", "http://[::1]:6334"] {
            assert_eq!(problems(url, "clinic_1-", Some("key.1")), 0, "{url}");
        }
        for url in ["127.0.0.1:6334", "http://127.0.0.1", "ftp://a:1", "http://a:1/path", "http://user:key@a:1", "http://:1", ""]
        {
            assert_eq!(problems(url, "", None), 1, "{url}");
        }
        assert_eq!(problems("http://a:1", "a/b", Some("a b")), 2);
        assert_eq!(problems("http://a:1", &"a".repeat(65), Some("密")), 2);
    }

    #[test]
    fn the_key_is_never_shown() {
        let mut options = QdrantOptions::new("http://a:1".to_owned(), String::new());
        options.api_key = Some("secret".to_owned());
        assert!(!format!("{options:?}").contains("secret"));
    }
}
