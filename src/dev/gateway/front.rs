//! The HTTP front: connections, bodies, an orderly end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::serve::ListenerExt;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderValue, Response, header};
use tokio::net::TcpListener;

use super::refusal::GatewayRefusal;
use super::rest_api::Gateway;
use crate::limits::{BODY_TIMEOUT, GATEWAY_STOP_TIMEOUT, MAX_DISCARDED_BYTES, MAX_GATEWAY_BODY_BYTES};

#[derive(Clone)]
struct Front {
    /// The APIs. The first one answers what no other serves.
    gateways: Arc<Vec<Gateway>>,
    local: SocketAddr,
}

/// Serves the APIs on this listener until `stop` is there, then lets running requests end within a bound.
pub async fn serve(
    listener: TcpListener,
    gateways: Vec<Gateway>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let front = Front { gateways: Arc::new(gateways), local: listener.local_addr()? };
    let service =
        Router::new().fallback(answer).with_state(front).into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    });
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let stop = async move {
        stop.await;
        stopping.send_replace(true);
    };
    let bound = async move {
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GATEWAY_STOP_TIMEOUT).await;
    };
    tokio::select! {
        ended = axum::serve(listener, service).with_graceful_shutdown(stop) => ended,
        () = bound => Ok(()),
    }
}

async fn answer(
    State(front): State<Front>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced = announced.and_then(|length| length.parse().ok()).unwrap_or(0);
    let body = match tokio::time::timeout(BODY_TIMEOUT, read(body, announced)).await {
        Ok(body) => body,
        Err(_) => Err(GatewayRefusal::BadRequestBody),
    };
    let unread = body.is_err();
    let path = parts.uri.path();
    let gateways = &front.gateways;
    let Some(gateway) = gateways.iter().find(|gateway| gateway.serves(path)).or(gateways.first()) else {
        return Response::new(Body::empty());
    };
    let mut response = gateway.answer(&parts, body, peer, front.local).await.map(Body::from);
    if unread {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads the whole body.
async fn read(body: Body, announced: u64) -> Result<Bytes, GatewayRefusal> {
    if announced > MAX_DISCARDED_BYTES as u64 {
        return Err(GatewayRefusal::RequestTooLarge);
    }
    let mut stream = body.into_data_stream();
    let mut collected = BytesMut::new();
    let mut length = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| GatewayRefusal::BadRequestBody)?;
        length += chunk.len();
        if length <= MAX_GATEWAY_BODY_BYTES {
            collected.extend_from_slice(&chunk);
        } else if length > MAX_DISCARDED_BYTES {
            break;
        }
    }
    if length > MAX_GATEWAY_BODY_BYTES {
        Err(GatewayRefusal::RequestTooLarge)
    } else {
        Ok(collected.freeze())
    }
}
