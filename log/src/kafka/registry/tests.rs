//! What is sent to a registry, and what is made of each of its answers.

use std::sync::Once;
use std::sync::mpsc::Receiver;

use tidemark_test_support::http::serve;

use super::{Registry, RegistryOptions};
use crate::port::LogError;

/// Status line and body of an answer.
type Said = (&'static str, &'static str);

const TOPIC: &str = "tidemark.state.customer";

fn registry(url: String) -> Registry {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    let options = RegistryOptions { url, user: Some("me".to_owned()), password: Some("hidden".to_owned()) };
    assert!(!format!("{options:?}").contains("hidden"));
    Registry::new(options).unwrap()
}

/// A registry that gives these answers.
fn answering(answers: &[Said]) -> (Registry, Receiver<String>) {
    let (url, requests) = serve(answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect());
    (registry(format!("{url}/")), requests)
}

#[tokio::test]
async fn a_subject_is_put_under_the_rule_before_its_schema_is_registered() {
    let missing = r#"{"error_code":40408,"message":"not configured"}"#;
    let (registry, requests) = answering(&[
        ("404 Not Found", missing),
        ("200 OK", r#"{"compatibility":"FULL_TRANSITIVE"}"#),
        ("200 OK", r#"{"id":7}"#),
        ("200 OK", r#"{"compatibilityLevel":"FULL_TRANSITIVE"}"#),
        ("200 OK", r#"{"id":8}"#),
    ]);
    assert_eq!(registry.register(TOPIC, r#""string""#).await.unwrap(), 7);
    assert_eq!(registry.register(TOPIC, r#""long""#).await.unwrap(), 8);
    let requests: Vec<String> = requests.iter().collect();
    let lines: Vec<&str> = requests.iter().filter_map(|request| request.lines().next()).collect();
    assert_eq!(
        lines,
        [
            "GET /config/tidemark.state.customer-value HTTP/1.1",
            "PUT /config/tidemark.state.customer-value HTTP/1.1",
            "POST /subjects/tidemark.state.customer-value/versions HTTP/1.1",
            "GET /config/tidemark.state.customer-value HTTP/1.1",
            "POST /subjects/tidemark.state.customer-value/versions HTTP/1.1",
        ]
    );
    assert!(requests[1].ends_with(r#"{"compatibility":"FULL_TRANSITIVE"}"#), "{}", requests[1]);
    assert!(requests[2].ends_with(r#"{"schema":"\"string\""}"#), "{}", requests[2]);
    for request in &requests {
        assert!(request.contains("authorization: Basic bWU6aGlkZGVu"), "{request}");
    }
    assert!(requests[2].contains("content-type: application/vnd.schemaregistry.v1+json"), "{}", requests[2]);
}

#[tokio::test]
async fn only_avro_is_a_schema_of_ours() {
    let (registry, _requests) = answering(&[
        ("200 OK", r#"{"schema":"\"string\""}"#),
        ("200 OK", r#"{"schema":"\"string\"","schemaType":"AVRO"}"#),
        ("200 OK", r#"{"schema":"{}","schemaType":"JSON"}"#),
        ("404 Not Found", r#"{"error_code":40403,"message":"Schema not found"}"#),
    ]);
    for expected in [Some(r#""string""#), Some(r#""string""#), None, None] {
        assert_eq!(registry.schema(7).await.unwrap().as_deref(), expected);
    }
}

#[tokio::test]
async fn a_registry_that_may_come_back_is_unavailable() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests", "408 Request Timeout"] {
        let (registry, _requests) = answering(&[(status, r#"{"error_code":50001,"message":"later"}"#)]);
        let error = registry.schema(7).await.unwrap_err();
        assert!(matches!(&error, LogError::Unavailable { .. }), "{status}: {error:?}");
    }
    let (no_json, _requests) = answering(&[("200 OK", "<html>")]);
    assert!(matches!(no_json.schema(7).await, Err(LogError::Unavailable { .. })));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = registry(format!("http://{nobody}")).schema(7).await.unwrap_err();
    let LogError::Unavailable { step, .. } = gone else { panic!("{gone:?}") };
    assert_eq!(step, format!("GET http://{nobody}/schemas/ids/7 of the schema registry"));
}

#[tokio::test]
async fn what_a_person_must_mend_is_said_with_the_remedy() {
    let full = ("200 OK", r#"{"compatibilityLevel":"FULL_TRANSITIVE"}"#);
    let loose = ("200 OK", r#"{"compatibilityLevel":"BACKWARD"}"#);
    let cases: [(&[Said], &[&str]); 6] = [
        (
            &[full, ("409 Conflict", r#"{"error_code":409,"message":"incompatible with version 1"}"#)],
            &["tidemark.state.customer-value", "409: incompatible with version 1", "curl -X DELETE", "tidemark schema check"],
        ),
        (&[("401 Unauthorized", r#"{"error_code":401,"message":"Unauthorized"}"#)], &["schema_registry.password"]),
        (&[loose, ("403 Forbidden", "denied")], &["FULL_TRANSITIVE", "denied", "schema_registry.user"]),
        (&[full, ("422 Unprocessable Entity", r#"{"error_code":42205,"message":"read-only"}"#)], &["42205", "READWRITE"]),
        (&[full, ("422 Unprocessable Entity", r#"{"error_code":42201,"message":"Invalid schema"}"#)], &["Invalid schema"]),
        (&[("404 Not Found", ""), ("404 Not Found", ""), ("404 Not Found", "")], &["no schema registry", "schema_registry.url"]),
    ];
    for (answers, expected) in cases {
        let (registry, _requests) = answering(answers);
        let error = registry.register(TOPIC, r#""string""#).await.unwrap_err();
        let LogError::Settings(text) = &error else { panic!("{error:?}") };
        for part in expected {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}
