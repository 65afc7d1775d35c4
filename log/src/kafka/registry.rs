//! A schema registry of the Confluent kind, spoken to by HTTP.
//!
//! Subjects are named by topic (`<topic>-value`), each is put under `FULL_TRANSITIVE` compatibility before anything is registered
//! there, and what is registered already is answered with the same id.
//! On failure: a registry that is away, busy or broken is `Unavailable`. What only a person can mend (credentials, a schema that
//! the registry will not have, an address where no registry is) is `Settings`, with the remedy.
//! Relies on the process's TLS provider, which the binary installs.

use std::fmt;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::port::LogError;

/// A request that takes longer is given up: a registry answers from memory.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What the registry's own clients send and accept.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Any reader reads any writer, older or newer: what our own released schemas keep to.
const COMPATIBILITY: &str = "FULL_TRANSITIVE";
/// How much of a refusal goes into the message.
const REASON_CHARS_MAX: usize = 500;

/// Where the registry is, and as whom to speak to it.
#[derive(Clone)]
pub struct RegistryOptions {
    /// `http://127.0.0.1:8081`, without credentials.
    pub url: String,
    /// Basic authentication, where the registry wants it.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
}

impl fmt::Debug for RegistryOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RegistryOptions")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish()
    }
}

/// The registry.
pub(super) struct Registry {
    options: RegistryOptions,
    client: Client,
}

/// An answer that is no success.
#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error_code: u32,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compatibility {
    compatibility_level: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    schema: String,
    /// Left out for Avro.
    schema_type: Option<String>,
}

/// What a request came to.
enum Answer<T> {
    Is(T),
    Refused(StatusCode, Refusal),
}

/// `<topic>-value`.
pub(super) fn subject_of(topic: &str) -> String {
    format!("{topic}-value")
}

impl Registry {
    /// Makes the client; connects to nothing yet.
    pub(super) fn new(options: RegistryOptions) -> Result<Self, LogError> {
        let client = Client::builder().timeout(TIMEOUT).build();
        let client = client.map_err(|error| LogError::Fatal {
            step: "making a client of the schema registry".to_owned(),
            cause: Box::new(error),
        })?;
        let url = options.url.trim_end_matches('/').to_owned();
        Ok(Self { options: RegistryOptions { url, ..options }, client })
    }

    /// Where it is.
    pub(super) fn url(&self) -> &str {
        &self.options.url
    }

    /// Whether it answers us.
    pub(super) async fn reach(&self) -> Result<(), LogError> {
        match self.ask::<Compatibility>(Method::GET, "/config", None).await? {
            Answer::Is(_) => Ok(()),
            Answer::Refused(status, refusal) => Err(self.settings("asking for the rule of compatibility", status, &refusal)),
        }
    }

    /// The id of the schema of this topic's values, registered if it was not.
    pub(super) async fn register(&self, topic: &str, schema: &str) -> Result<u32, LogError> {
        let subject = subject_of(topic);
        self.require_compatibility(&subject).await?;
        let path = format!("/subjects/{subject}/versions");
        match self.ask::<Registered>(Method::POST, &path, Some(json!({ "schema": schema }))).await? {
            Answer::Is(registered) => Ok(registered.id),
            Answer::Refused(StatusCode::CONFLICT, refusal) => Err(LogError::Settings(format!(
                "the schema registry at {url} refuses the schema of subject {subject} as incompatible ({said}): the subject holds \
                 a schema that this program cannot go with. If another program put it there, take it away \
                 (`curl -X DELETE {url}/subjects/{subject}`) or give this log another `log.prefix`; if it is an older one of this \
                 log, `tidemark schema check` says what is incompatible",
                url = self.url(),
                said = refusal.reason(),
            ))),
            Answer::Refused(status, refusal) => {
                Err(self.settings(&format!("registering the schema of subject {subject}"), status, &refusal))
            }
        }
    }

    async fn require_compatibility(&self, subject: &str) -> Result<(), LogError> {
        let path = format!("/config/{subject}");
        match self.ask::<Compatibility>(Method::GET, &path, None).await? {
            Answer::Is(found) if found.compatibility_level == COMPATIBILITY => return Ok(()),
            // a subject that nothing was said of, or a looser rule
            Answer::Is(_) | Answer::Refused(StatusCode::NOT_FOUND, _) => {}
            Answer::Refused(status, refusal) => {
                return Err(self.settings(&format!("reading the compatibility of subject {subject}"), status, &refusal));
            }
        }
        let wanted = json!({ "compatibility": COMPATIBILITY });
        match self.ask::<Value>(Method::PUT, &path, Some(wanted)).await? {
            Answer::Is(_) => Ok(()),
            Answer::Refused(status, refusal) => {
                let step = format!("putting subject {subject} under {COMPATIBILITY} compatibility");
                Err(self.settings(&step, status, &refusal))
            }
        }
    }

    /// The Avro schema with this id; `None` when the registry has none.
    pub(super) async fn schema(&self, id: u32) -> Result<Option<String>, LogError> {
        match self.ask::<Stored>(Method::GET, &format!("/schemas/ids/{id}"), None).await? {
            Answer::Is(stored) => Ok(Some(stored.schema).filter(|_| stored.schema_type.is_none_or(|kind| kind == "AVRO"))),
            Answer::Refused(StatusCode::NOT_FOUND, _) => Ok(None),
            Answer::Refused(status, refusal) => {
                Err(self.settings(&format!("asking for the schema with id {id}"), status, &refusal))
            }
        }
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer<T>, LogError> {
        let unavailable = |cause: Box<dyn std::error::Error + Send + Sync>| LogError::Unavailable {
            step: format!("{method} {}{path} of the schema registry", self.url()),
            cause,
        };
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url())).header(ACCEPT, MEDIA_TYPE);
        if let Some(user) = &self.options.user {
            request = request.basic_auth(user, self.options.password.as_deref());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, MEDIA_TYPE).body(body.to_string());
        }
        let response = request.send().await.map_err(|error| unavailable(Box::new(error.without_url())))?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map(Answer::Is).map_err(|error| unavailable(Box::new(error.without_url())));
        }
        let text = response.text().await.unwrap_or_default();
        let refusal = serde_json::from_str(&text).unwrap_or(Refusal { message: text, ..Refusal::default() });
        let comes_back = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        if status.is_server_error() || comes_back.contains(&status) {
            return Err(unavailable(format!("it answers {status}: {}", refusal.reason()).into()));
        }
        Ok(Answer::Refused(status, refusal))
    }

    /// What a person must mend.
    fn settings(&self, step: &str, status: StatusCode, refusal: &Refusal) -> LogError {
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "set `schema_registry.user` and `schema_registry.password` to somebody who may read and write the subjects of this log"
            }
            StatusCode::NOT_FOUND => "there is no schema registry at this address; correct `schema_registry.url`",
            _ if refusal.error_code == READ_ONLY => "the subject is read-only there; put it into the mode READWRITE",
            _ => "the registry must take Avro schemas under names by topic",
        };
        let (url, said) = (self.url(), refusal.reason());
        LogError::Settings(format!("{step}: the schema registry at {url} answers {status} ({said}); {remedy}"))
    }
}

/// The registry's own number for a subject in a mode that takes nothing.
const READ_ONLY: u32 = 42205;

impl Refusal {
    fn reason(&self) -> String {
        let text: String = self.message.trim().chars().take(REASON_CHARS_MAX).collect();
        if self.error_code == 0 { text } else { format!("{}: {text}", self.error_code) }
    }
}

#[cfg(test)]
mod tests;
