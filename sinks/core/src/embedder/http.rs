//! An embedder behind HTTP that speaks as OpenAI's does: `POST {base}/embeddings` with `{model, input: [...]}`.
//!
//! Off unless configured: texts leave the machine. Relies on the process's TLS provider, which the binary installs.
//! A busy or broken service (429, 5xx, time-out, no connection) is unavailable and retried by the engine; a refusal of the text
//! (400, 413, 422) is rejected; 401 and 403 are unavailable too, since nothing is wrong with the text and somebody must correct
//! the key. Vectors are normalised here whatever the service says, and their dimensions checked.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{EmbedError, Embedder, normalise};

/// Texts per request. Services accept from 10 (some Chinese ones) to 2,048; larger saves round trips.
pub const TEXTS_PER_REQUEST: usize = 64;
/// A request that takes longer is given up; a batch of this size takes seconds on a small machine's model.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an error body goes into the message.
const ERROR_BODY_CHARS_MAX: usize = 300;

/// Where the service is and what to ask of it.
#[derive(Clone)]
pub struct HttpOptions {
    /// `https://api.example.com/v1`, with or without a slash at its end.
    pub base_url: String,
    /// Model name.
    pub model: String,
    /// Dimensions that the model gives.
    pub dimensions: usize,
    /// Bearer key, where the service wants one.
    pub api_key: Option<String>,
    /// Texts per request: [`TEXTS_PER_REQUEST`] unless the service accepts fewer.
    pub texts_per_request: usize,
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpOptions")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .field("dimensions", &self.dimensions)
            .field("api_key", &self.api_key.as_ref().map(|_| "***"))
            .field("texts_per_request", &self.texts_per_request)
            .finish()
    }
}

/// The embedder.
#[derive(Debug)]
pub struct HttpEmbedder {
    options: HttpOptions,
    url: String,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: Option<usize>,
    embedding: Vec<f32>,
}

impl HttpEmbedder {
    /// Makes the client; connects to nothing yet. Fails without a process-wide TLS provider.
    pub fn try_new(options: HttpOptions) -> Result<Self, EmbedError> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| EmbedError::Unavailable(format!("no HTTP client: {error}")))?;
        let url = format!("{}/embeddings", options.base_url.trim_end_matches('/'));
        Ok(Self { options, url, client })
    }

    async fn request(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut request = self.client.post(&self.url).json(&json!({"model": self.options.model, "input": texts}));
        if let Some(key) = &self.options.api_key {
            request = request.bearer_auth(key);
        }
        let unavailable = |problem: reqwest::Error| EmbedError::Unavailable(format!("{}: {}", self.url, problem.without_url()));
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        if !status.is_success() {
            let body: String = response.text().await.unwrap_or_default().chars().take(ERROR_BODY_CHARS_MAX).collect();
            return Err(self.refusal(status, &body));
        }
        let answer: Answer = response.json().await.map_err(unavailable)?;
        self.vectors(answer, texts.len())
    }

    fn refusal(&self, status: StatusCode, body: &str) -> EmbedError {
        let text = format!("{} answered {status}: {body}", self.url);
        match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                EmbedError::Rejected(text)
            }
            _ => EmbedError::Unavailable(text),
        }
    }

    fn vectors(&self, answer: Answer, count: usize) -> Result<Vec<Vec<f32>>, EmbedError> {
        let wrong = |problem: String| EmbedError::Unavailable(format!("{}: {problem}", self.url));
        let mut vectors = vec![Vec::new(); count];
        for (position, embedding) in answer.data.into_iter().enumerate() {
            let mut vector = embedding.embedding;
            let wanted = self.options.dimensions;
            if vector.len() != wanted {
                let found = vector.len();
                return Err(wrong(format!("the model gives {found} dimensions, not {wanted}; correct `dimensions` or `model`")));
            }
            if !normalise(&mut vector) {
                return Err(EmbedError::Rejected(format!("{} gives a vector without direction", self.url)));
            }
            let index = embedding.index.unwrap_or(position);
            *vectors.get_mut(index).ok_or_else(|| wrong(format!("vector {index} was not asked for")))? = vector;
        }
        match vectors.iter().position(Vec::is_empty) {
            Some(missing) => Err(wrong(format!("the answer lacks vector {missing} of {count}"))),
            None => Ok(vectors),
        }
    }
}

#[async_trait]
impl Embedder for HttpEmbedder {
    fn identity(&self) -> String {
        format!("http/{}/{}", self.options.model, self.options.dimensions)
    }

    fn dimensions(&self) -> usize {
        self.options.dimensions
    }

    async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for some in texts.chunks(self.options.texts_per_request.max(1)) {
            vectors.extend(self.request(some).await?);
        }
        Ok(vectors)
    }
}

#[cfg(test)]
mod tests;
