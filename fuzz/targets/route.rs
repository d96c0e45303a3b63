//! Every request line leads somewhere, and its parameters are read or refused. The input is
//! `METHOD path?query` and, after a line feed, a host and the body of a search.
#![no_main]

use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;
use lambda_http::{Body, Request, RequestExt};
use libfuzzer_sys::fuzz_target;
use rollcall::limits::MAX_BODY_BYTES;
use rollcall::http::caller::RequestLocation;
use rollcall::http::request::{object, preconditions, projection, query, search};
use rollcall::http::router::{ROUTES, Route, route};
use rollcall::scim::resource_type::Model;

static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| Model::all(&[]).expect("the models"));

fuzz_target!(|input: &str| {
    let (line, rest) = input.split_once('\n').unwrap_or((input, ""));
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let Ok(method) = method.parse::<Method>() else { return };
    let (path, text) = target.split_once('?').unwrap_or((target, ""));
    match route(&method, path) {
        Route::To(operation, _) => assert!(ROUTES.iter().any(|(_, _, known)| *known == operation)),
        Route::Methods(methods) => {
            assert!(methods.split(", ").all(|known| known != method.as_str() || method == Method::OPTIONS));
            for known in methods.split(", ").filter(|known| *known != "OPTIONS") {
                let known = known.parse().expect("a method");
                assert!(matches!(route(&known, path), Route::To(..)), "{known} {path}");
            }
        }
        Route::Nowhere => {}
    }

    let mut parameters: HashMap<String, Vec<String>> = HashMap::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    let (host, body) = rest.split_once('\n').unwrap_or(("", rest));
    let mut request = Request::new(Body::from(body)).with_query_string_parameters(parameters).with_raw_http_path(path);
    *request.method_mut() = method;
    if let Ok(host) = host.parse::<http::HeaderValue>() {
        for name in [http::header::HOST, http::header::IF_MATCH, http::header::CONTENT_TYPE] {
            request.headers_mut().insert(name, host.clone());
        }
    }
    let _ = RequestLocation::read(&request, None);
    let _ = query(&request);
    let _ = preconditions(&request);
    let body = object(&request, MAX_BODY_BYTES);
    for model in MODELS.iter() {
        let _ = projection(&request, &model.types());
        if let Ok(body) = &body {
            let _ = search(body, model.policy, &model.types());
        }
    }
});
