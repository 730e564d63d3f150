//! `--metrics-address`: metrics, and the answers to the kubelet's probes, by HTTP.
//! It must not know what is counted, nor let a slow or greedy client keep the daemon from its work.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};

use crate::kubelet::{self, Socket};
use crate::metrics::Metrics;

/// As many clients at once as a node has: the kubelet's probes, one or two that scrape, and somebody who looks.
const CLIENTS: usize = 16;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take to ask and to hear the answer, which may be long.
const WHOLE: Duration = Duration::from_secs(10);
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
    let mut clients = Clients::default();
    let listener = listen(&address).await;
    loop {
        let metrics = metrics.clone();
        let accepted = match &listener {
            Listener::Tcp(listener) => {
                listener.accept().await.map(|(client, _)| clients.admit(converse(client, metrics)))
            }
            Listener::Unix(listener, _) => {
                listener.accept().await.map(|(client, _)| clients.admit(converse(client, metrics)))
            }
        };
        if let Err(error) = accepted {
            tracing::debug!("{address}: {error}");
            // Out of descriptors, most likely; to try again at once would be to do nothing else.
            tokio::time::sleep(PAUSE).await;
        }
        // Whoever has asked already is answered before the next is let in, however many knock.
        tokio::task::yield_now().await;
    }
}

/// Those who are being talked to, the oldest first. They go with this.
#[derive(Debug, Default)]
struct Clients {
    at_work: JoinSet<()>,
    since: VecDeque<AbortHandle>,
}

impl Clients {
    /// Lets one more in. Where the places are taken the oldest one goes: who asks at once is answered at once, so it is one
    /// that says nothing or does not listen.
    fn admit(&mut self, talk: impl Future<Output = ()> + Send + 'static) {
        while self.at_work.try_join_next().is_some() {}
        self.since.retain(|client| !client.is_finished());
        if self.since.len() >= CLIENTS
            && let Some(oldest) = self.since.pop_front()
        {
            oldest.abort();
        }
        self.since.push_back(self.at_work.spawn(talk));
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
    let _ = tokio::time::timeout(WHOLE, talk).await;
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let (status, kind, text) = match request.uri().path() {
        _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD alone\n".to_owned())
        }
        "/metrics" => (StatusCode::OK, OPEN_METRICS, metrics.text()),
        // Whoever can say so is alive, there is one thread; if it can look at its node.
        "/healthz" => match metrics.liveness() {
            health if health.ready => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            health => (StatusCode::SERVICE_UNAVAILABLE, TEXT, health.reasons.join("; ") + "\n"),
        },
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
