use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use cofferdam_server::config::Mistake;

use super::*;

/// A server that answers as the routes say, on a port of its own.
async fn serve(routes: Router) -> Api {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Api::new(&format!("http://{address}"), &SecretString::from("t0ken")).unwrap()
}

#[tokio::test]
async fn the_token_is_sent_and_path_and_query_are_encoded() {
    let echo = |headers: HeaderMap, uri: axum::http::Uri| async move {
        axum::Json(vec![
            headers["authorization"].to_str().unwrap().to_owned(),
            uri.to_string(),
        ])
    };
    let api = serve(Router::new().fallback(get(echo))).await;
    let request = Request::get(&["v1", "traces", "a/b?c"])
        .query("class", Some("data quality"))
        .query("none", None::<&str>);
    let seen: Vec<String> = api.send(request).await.unwrap();
    assert_eq!(seen, ["Bearer t0ken", "/v1/traces/a%2Fb%3Fc?class=data+quality"]);
}

#[tokio::test]
async fn a_problem_becomes_an_error_with_every_mistake() {
    let refuse = || async {
        let mut problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-connection",
            "the connection file has 1 mistakes",
        );
        problem.mistakes = vec![Mistake {
            line: 3,
            text: "unknown key".to_owned(),
        }];
        problem
    };
    let api = serve(Router::new().route("/v1/connections", post(refuse))).await;
    let error = api.send::<()>(Request::post(&["v1", "connections"])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the connection file has 1 mistakes\n  line 3: unknown key"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_problem_is_not_mistaken_for_one() {
    let api = serve(Router::new()).await;
    let error = api.send::<()>(Request::get(&["v1", "connections"])).await.unwrap_err();
    assert!(matches!(error, ApiError::NotOurs { status: 404, .. }), "{error}");
}

#[tokio::test]
async fn no_answer_is_explained_without_a_word_of_the_token() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let api = Api::new(&format!("http://{address}"), &SecretString::from("t0ken")).unwrap();
    let error = anyhow::Error::from(api.send::<()>(Request::get(&["v1"])).await.unwrap_err());
    let text = crate::chain::in_one_line(&error);
    assert!(
        text.contains("check that the server runs") && !text.contains("t0ken"),
        "{text}"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_token() {
    let away = || async { (StatusCode::FOUND, [("location", "http://127.0.0.1:1/")]) };
    let api = serve(Router::new().fallback(get(away))).await;
    let error = api.send::<()>(Request::get(&["v1"])).await.unwrap_err();
    assert!(matches!(error, ApiError::NotOurs { status: 302, .. }), "{error}");
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_the_limit_and_no_larger() {
    let api = serve(Router::new().fallback(get(|| async { "12345" }))).await;
    for (limit, expected) in [(5, Some(b"12345".to_vec())), (4, None)] {
        let answer = api.http.get(api.base.clone()).send().await.unwrap();
        assert_eq!(read_capped(answer, limit).await.unwrap(), expected, "{limit}");
    }
}

#[test]
fn only_a_server_on_this_machine_may_get_a_token_in_the_clear() {
    let check = |base: &str, expected: bool| {
        assert_eq!(
            Api::new(base, &SecretString::from("t")).unwrap().is_in_the_clear(),
            expected,
            "{base}"
        );
    };
    check("http://127.0.0.1:8081", false);
    check("http://[::1]:8081", false);
    check("http://localhost:8081", false);
    check("http://10.0.0.1:8081", true);
    check("https://10.0.0.1:8081", false);
}
