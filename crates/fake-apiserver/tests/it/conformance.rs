//! The whole suite over the fake.

use fake_apiserver::FakeApiServer;
use fake_apiserver::conformance::{Target, run};

#[tokio::test]
async fn fake_serves_as_the_real_api_server_does() {
    let server = FakeApiServer::start().await.unwrap();
    let target = Target { address: server.address(), token: Some("token-1".to_owned()) };
    let verdicts = run(&target, true).await;
    let problems: Vec<_> = verdicts.iter().filter(|verdict| verdict.problem.is_some()).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(verdicts.len() > 10, "only {} cases", verdicts.len());
}

#[tokio::test]
async fn client_with_another_token_is_refused() {
    let server = FakeApiServer::start().await.unwrap();
    let target = Target { address: server.address(), token: Some("another".to_owned()) };
    run(&target, true).await;
    let codes: Vec<u16> = server.requests().iter().map(|request| request.code).collect();
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == 401), "{codes:?}");
}
