//! Sessions that expire, connections that break, answers that come late: against the server, through a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidemark_test_support::Kind;
use tidemark_test_support::proxy::Fate;
use tidemark_test_support::tls::TlsFront;

use super::super::{ClientError, ClientOptions, Properties, Secret, Session, Tls, Value};
use super::proxy::{answer, before};
use crate::ngql::Name;

fn options(addresses: &[&str]) -> Arc<ClientOptions> {
    Arc::new(ClientOptions {
        addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
        user: "root".to_owned(),
        password: Secret("nebula".to_owned()),
        tls: None,
        connect_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
        reply_bytes_max: 1 << 20,
    })
}

async fn one(session: &mut Session, statement: &str) -> Result<Vec<Vec<Value>>, ClientError> {
    session.execute(statement, &Properties::new()).await.map(|reply| reply.rows)
}

#[tokio::test]
async fn an_expired_session_is_replaced_and_its_space_chosen_again() {
    let Some(address) = Kind::Nebula.address("an_expired_session_is_replaced_and_its_space_chosen_again") else { return };
    let calls = Arc::new(AtomicUsize::new(0));
    let (logins, uses) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&calls));
    let seen = Arc::clone(&logins);
    let expires = Arc::new(AtomicUsize::new(0));
    let armed = Arc::clone(&expires);
    let proxy = before(&address, move |call| {
        if call.contains("authenticate") {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        if call.contains("USE `") {
            uses.fetch_add(1, Ordering::SeqCst);
        }
        if call.contains("YIELD 1") && armed.swap(0, Ordering::SeqCst) == 1 {
            return answer(call, -1002, "Session not existed!");
        }
        Fate::Pass
    });
    let mut admin = Session::new(&options(&[&address]), None, 0);
    one(&mut admin, "CREATE SPACE IF NOT EXISTS `client_tests`(vid_type = FIXED_STRING(8))").await.unwrap();
    let space = Name::fixed("client_tests");
    while admin.choose(&space).await.is_err() {
        tokio::task::yield_now().await;
    }
    let mut session = Session::new(&options(&[&proxy.address]), Some(&space), 0);
    assert_eq!(one(&mut session, "YIELD 1 AS a").await.unwrap(), [[Value::Int(1)]]);
    assert_eq!((logins.load(Ordering::SeqCst), calls.load(Ordering::SeqCst)), (1, 1));
    expires.store(1, Ordering::SeqCst);
    assert_eq!(one(&mut session, "YIELD 1 AS a").await.unwrap(), [[Value::Int(1)]]);
    assert_eq!((logins.load(Ordering::SeqCst), calls.load(Ordering::SeqCst)), (2, 2), "a login and a USE more");
    one(&mut session, "SHOW TAGS").await.unwrap();
}

#[tokio::test]
async fn a_dead_address_is_passed_over_and_a_broken_connection_left() {
    let Some(address) = Kind::Nebula.address("a_dead_address_is_passed_over_and_a_broken_connection_left") else { return };
    // Bound and let go: nobody listens there.
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let proxy = before(&address, |_| Fate::Pass);
    let mut session = Session::new(&options(&[&dead, &proxy.address, &address]), None, 0);
    one(&mut session, "YIELD 1 AS a").await.unwrap();
    for fate in [Fate::Cut, Fate::CutAfter] {
        proxy.rule(move |_| fate.clone());
        match one(&mut session, "YIELD 2 AS a").await {
            Err(ClientError::Broken { address, .. }) => assert_eq!(address, proxy.address),
            other => panic!("{other:?}"),
        }
        // A statement that may have been run is not run again; the next one goes to another address.
        assert_eq!(one(&mut session, "YIELD 3 AS a").await.unwrap(), [[Value::Int(3)]]);
        proxy.rule(|_| Fate::Pass);
        session = Session::new(&options(&[&proxy.address, &address]), None, 0);
        one(&mut session, "YIELD 1 AS a").await.unwrap();
    }
    proxy.rule(|_| Fate::Cut);
    assert_eq!(session.read("YIELD 4 AS a").await.unwrap().rows, [[Value::Int(4)]], "a read is tried on the next address");
    let mut nowhere = Session::new(&options(&[&dead]), None, 0);
    match one(&mut nowhere, "YIELD 1 AS a").await {
        Err(ClientError::Unreachable(text)) => assert!(text.contains(&dead), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_late_answer_closes_the_connection() {
    let Some(address) = Kind::Nebula.address("a_late_answer_closes_the_connection") else { return };
    let proxy = before(&address, |_| Fate::Pass);
    let mut session = Session::new(&options(&[&proxy.address]), None, 0);
    one(&mut session, "YIELD 1 AS a").await.unwrap();
    proxy.rule(|call| if call.contains("YIELD 2") { Fate::RepeatLast } else { Fate::Pass });
    match one(&mut session, "YIELD 2 AS a").await {
        Err(ClientError::Broken { problem, .. }) => assert!(problem.contains("another call"), "{problem}"),
        other => panic!("the answer to the call before was taken: {other:?}"),
    }
    assert_eq!(one(&mut session, "YIELD 3 AS a").await.unwrap(), [[Value::Int(3)]]);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let Some(address) = Kind::Nebula.address("an_answer_that_never_comes_is_given_up") else { return };
    let proxy = before(&address, |call| if call.contains("YIELD 2") { Fate::Withhold } else { Fate::Pass });
    let options = options(&[&proxy.address]);
    let impatient = ClientOptions { request_timeout: Duration::from_millis(300), ..Arc::into_inner(options).unwrap() };
    let mut session = Session::new(&Arc::new(impatient), None, 0);
    match one(&mut session, "YIELD 2 AS a").await {
        Err(ClientError::Broken { problem, .. }) => assert!(problem.contains("no answer within"), "{problem}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(one(&mut session, "YIELD 3 AS a").await.unwrap(), [[Value::Int(3)]]);
}

#[tokio::test]
async fn a_call_given_up_half_way_leaves_no_answer_for_the_next() {
    let Some(address) = Kind::Nebula.address("a_call_given_up_half_way_leaves_no_answer_for_the_next") else { return };
    let proxy = before(&address, |call| if call.contains("YIELD 2") { Fate::Withhold } else { Fate::Pass });
    let mut session = Session::new(&options(&[&proxy.address]), None, 0);
    one(&mut session, "YIELD 1 AS a").await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(50), one(&mut session, "YIELD 2 AS a")).await;
    assert!(given_up.is_err(), "{given_up:?}");
    assert_eq!(one(&mut session, "YIELD 3 AS a").await.unwrap(), [[Value::Int(3)]]);
}

#[tokio::test]
async fn a_reply_beyond_the_bound_and_a_wrong_password_are_refused() {
    let Some(address) = Kind::Nebula.address("a_reply_beyond_the_bound_and_a_wrong_password_are_refused") else { return };
    let small = ClientOptions { reply_bytes_max: 1_000, ..Arc::into_inner(options(&[&address])).unwrap() };
    let mut session = Session::new(&Arc::new(small), None, 0);
    let long = format!("YIELD \"{}\" AS a", "x".repeat(2_000));
    match one(&mut session, &long).await {
        Err(ClientError::Broken { problem, .. }) => assert!(problem.contains("1000 are allowed"), "{problem}"),
        other => panic!("{other:?}"),
    }
    let stranger = ClientOptions { password: Secret("wrong".to_owned()), ..Arc::into_inner(options(&[&address])).unwrap() };
    let shown = format!("{stranger:?}");
    assert!(!shown.contains("wrong"), "{shown}");
    match one(&mut Session::new(&Arc::new(stranger), None, 0), "YIELD 1 AS a").await {
        Err(ClientError::Login { user, .. }) => assert_eq!(user, "root"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sessions_are_given_back() {
    let Some(address) = Kind::Nebula.address("sessions_are_given_back") else { return };
    // More than a server gives to one user: only what was given back can be had again.
    for _ in 0..320 {
        let mut session = Session::new(&options(&[&address]), None, 0);
        one(&mut session, "YIELD 1 AS a").await.unwrap();
    }
}

#[tokio::test]
async fn tls_is_spoken_with_those_whom_the_authority_vouches_for() {
    let Some(address) = Kind::Nebula.address("tls_is_spoken_with_those_whom_the_authority_vouches_for") else { return };
    let front = TlsFront::start(&address).await;
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("server.pem");
    std::fs::write(&authority, &front.certificate).unwrap();
    let trusting =
        ClientOptions { tls: Some(Tls::new(Some(&authority)).unwrap()), ..Arc::into_inner(options(&[&front.address])).unwrap() };
    let mut session = Session::new(&Arc::new(trusting), None, 0);
    let long = "张".repeat(100_000);
    assert_eq!(one(&mut session, &format!("YIELD \"{long}\" AS a")).await.unwrap(), [[Value::text(&long)]]);
    let system = Tls::new(None);
    if let Ok(system) = system {
        let wary = ClientOptions { tls: Some(system), ..Arc::into_inner(options(&[&front.address])).unwrap() };
        match one(&mut Session::new(&Arc::new(wary), None, 0), "YIELD 1 AS a").await {
            Err(ClientError::Unreachable(text)) => assert!(text.contains("TLS"), "{text}"),
            other => panic!("an unknown certificate was trusted: {other:?}"),
        }
    }
}
