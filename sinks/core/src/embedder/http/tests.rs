use std::sync::Once;

use tidemark_test_support::http::serve;

use super::{HttpEmbedder, HttpOptions};
use crate::embedder::{EmbedError, Embedder};

fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
}

fn embedder(address: &str) -> HttpEmbedder {
    install_tls();
    let options = HttpOptions {
        base_url: format!("{address}/v1/"),
        model: "m".to_owned(),
        dimensions: 2,
        api_key: Some("secret".to_owned()),
        texts_per_request: 2,
    };
    assert!(!format!("{options:?}").contains("secret"));
    HttpEmbedder::try_new(options).unwrap()
}

fn data(vectors: &str) -> String {
    format!(r#"{{"data":[{vectors}]}}"#)
}

#[tokio::test]
async fn texts_go_in_batches_and_vectors_come_back_in_order_and_normalised() {
    let first = data(r#"{"index":1,"embedding":[0,5]},{"index":0,"embedding":[3,4]}"#);
    let (address, requests) = serve(vec![("200 OK", first), ("200 OK", data(r#"{"embedding":[-2,0]}"#))]);
    let vectors = embedder(&address).embed(&["一", "二", "三"]).await.unwrap();
    assert_eq!(vectors, [vec![0.6, 0.8], vec![0.0, 1.0], vec![-1.0, 0.0]]);
    let request = requests.recv().unwrap();
    assert!(request.starts_with("POST /v1/embeddings "), "{request}");
    assert!(request.contains("authorization: Bearer secret"), "{request}");
    assert!(request.ends_with(r#"{"input":["一","二"],"model":"m"}"#), "{request}");
    assert!(requests.recv().unwrap().ends_with(r#"{"input":["三"],"model":"m"}"#));
}

#[tokio::test]
async fn refusals_are_told_from_troubles() {
    for (status, rejected) in [
        ("400 Bad Request", true),
        ("413 Payload Too Large", true),
        ("422 Unprocessable Entity", true),
        ("401 Unauthorized", false),
        ("429 Too Many Requests", false),
        ("500 Internal Server Error", false),
        ("503 Service Unavailable", false),
    ] {
        let (address, _requests) = serve(vec![(status, "why".to_owned())]);
        let error = embedder(&address).embed(&["一"]).await.unwrap_err();
        assert_eq!(matches!(error, EmbedError::Rejected(_)), rejected, "{status}: {error}");
        assert!(error.to_string().contains("why") && !error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn wrong_answers_are_no_vectors() {
    for (body, told) in [
        (data(r#"{"embedding":[1]}"#), "1 dimensions, not 2"),
        (data(""), "lacks vector 0"),
        (data(r#"{"index":4,"embedding":[1,0]}"#), "vector 4 was not asked for"),
        (data(r#"{"embedding":[0,0]}"#), "without direction"),
        ("no json".to_owned(), "http://"),
    ] {
        let (address, _requests) = serve(vec![("200 OK", body)]);
        let error = embedder(&address).embed(&["一"]).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = embedder(&address).embed(&["一"]).await.unwrap_err();
    assert!(matches!(error, EmbedError::Unavailable(_)), "{error}");
}
