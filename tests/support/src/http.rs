//! An HTTP server that says what it was told to say, for tests of clients: what they send, and what they make of each answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;

/// Answers one request after the other with these (status line, body), each on a connection of its own. Returns its address,
/// `http://127.0.0.1:<port>`, and the requests as they come, whole.
///
/// # Panics
/// When there is no free port. A thread of its own panics on what is no HTTP, which the client notices as a connection that ends.
#[must_use]
pub fn serve(answers: Vec<(&'static str, String)>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    let (report, requests) = mpsc::channel();
    thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            let request = read(&mut stream);
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
            let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).expect("the client listens");
            // A test that does not look at the requests has let go of them.
            let _ = report.send(request);
        }
    });
    (format!("http://{address}"), requests)
}

/// A request with all of its body.
fn read(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).expect("a request");
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
        if body.len() >= length.map_or(0, |length| length.parse().expect("a length is a number")) {
            return text.into_owned();
        }
    }
}
