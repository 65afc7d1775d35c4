//! Asked over a real socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn ready_follows_the_board_and_metrics_are_printed() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = bind(address).await.unwrap_err().to_string();
    assert!(taken.contains("another process has it"), "{taken}");
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || metrics::counter!("tidemark_records_total", "stage" => "fold").increment(3));
    let (board, shutdown) = (StatusBoard::default(), CancellationToken::new());
    let served = tokio::spawn(serve(listener, board.clone(), handle, shutdown.clone()));

    assert!(get(address, "/health").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/ready").await.starts_with("HTTP/1.1 503"), "nothing runs yet");
    board.update("fold", |line| line.state = StageState::Running);
    assert!(get(address, "/ready").await.starts_with("HTTP/1.1 200"));
    board.update("sink.graph", |line| line.state = StageState::Degraded("graph.db is locked".to_owned()));
    let degraded = get(address, "/ready").await;
    assert!(degraded.starts_with("HTTP/1.1 503"), "{degraded}");
    assert!(degraded.contains(r#""reason":"graph.db is locked""#), "{degraded}");
    assert!(get(address, "/metrics").await.contains("tidemark_records_total{stage=\"fold\"} 3"));

    shutdown.cancel();
    served.await.unwrap().unwrap();
}
