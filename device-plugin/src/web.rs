//! `--metrics-address`: metrics, and the answers to the kubelet's probes, by HTTP.
//! It must not know what is counted, nor let a slow or greedy client keep the daemon from its work.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::kubelet::{self, Socket};
use crate::metrics::Metrics;

/// As many clients at once as a node has: the kubelet's probes, one or two that scrape, and somebody who looks.
const CLIENTS: usize = 16;
/// How long a client may take to ask, and to hear the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to listen: while a new daemon takes over, the old one has the port.
const PAUSE: Duration = Duration::from_millis(200);

/// Where to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

/// It is neither.
#[derive(Debug, thiserror::Error)]
#[error("wanted IP:PORT, :PORT or unix:PATH")]
pub struct ParseAddressError;

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when it is dropped")] Socket),
}

/// Answers for as long as it is polled. An address that cannot be had is tried for again: the pods matter more.
pub async fn serve(address: Address, metrics: Metrics) -> Infallible {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    let listener = listen(&address).await;
    loop {
        // The semaphore is never closed.
        let place = clients.clone().acquire_owned().await;
        let metrics = metrics.clone();
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(client, _)| {
                tokio::spawn(async move { (converse(client, metrics).await, drop(place)) });
            }),
            Listener::Unix(listener, _) => listener.accept().await.map(|(client, _)| {
                tokio::spawn(async move { (converse(client, metrics).await, drop(place)) });
            }),
        };
        if let Err(error) = accepted {
            tracing::debug!("{address}: {error}");
            // Out of descriptors, most likely; to try again at once would be to do nothing else.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn listen(address: &Address) -> Listener {
    let mut said = false;
    loop {
        let listener = match address {
            Address::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            Address::Unix(path) => bind(path),
        };
        match listener {
            Ok(listener) => return listener,
            Err(error) if !said => {
                tracing::error!(
                    "cannot listen on {address}: {error}; no probe is answered until that is possible"
                );
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn bind(path: &Path) -> io::Result<Listener> {
    let (listener, socket) = kubelet::bind(path).map_err(io::Error::other)?;
    Ok(Listener::Unix(listener, socket))
}

async fn converse(client: impl AsyncRead + AsyncWrite + Unpin, metrics: Metrics) {
    let answers = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &metrics))));
    let mut server = hyper::server::conn::http1::Builder::new();
    let talk = server
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(client), answers);
    // A client that breaks off, or takes too long, has what it has.
    let _ = tokio::time::timeout(PATIENCE * 2, talk).await;
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let (status, kind, text) = match request.uri().path() {
        _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD alone\n".to_owned())
        }
        "/metrics" => (StatusCode::OK, OPEN_METRICS, metrics.text()),
        // Whoever can say so is alive: there is one thread.
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let readiness = metrics.readiness();
            let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, "application/json", serde_json::json!(readiness).to_string() + "\n")
        }
        _ => (StatusCode::NOT_FOUND, TEXT, "/metrics, /healthz or /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(ParseAddressError) } else { Ok(Self::Unix(path.into())) };
        }
        // As Go has it: every address of the node, of both families.
        let text = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
        text.parse().map(Self::Tcp).map_err(|_| ParseAddressError)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let read = |text: &str| text.parse::<Address>().ok().map(|address| address.to_string());
        assert_eq!(read("127.0.0.1:9105").as_deref(), Some("127.0.0.1:9105"));
        assert_eq!(read(":9105").as_deref(), Some("[::]:9105"));
        assert_eq!(read("[::1]:9105").as_deref(), Some("[::1]:9105"));
        assert_eq!(read("unix:/run/m.sock").as_deref(), Some("unix:/run/m.sock"));
        for wrong in ["", "9105", "unix:", "host:9105", "1.2.3.4", ":nine"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
