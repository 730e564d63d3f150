//! The daemon's own socket: one question a connection, a line of JSON, and the answer as text. To root alone.
//! It must not know what an answer says, nor let a slow asker keep the daemon from its work.

use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::kubelet::Socket;
use crate::metrics::Readiness;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// No question is longer, in bytes.
const LONGEST: u64 = 4096;

/// What can be asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Question {
    /// What became of a pod.
    Pod {
        /// Its name, `<namespace>/<name>`.
        pod: String,
        /// JSON rather than words.
        json: bool,
    },
    /// Whether the daemon can do its work.
    Alive,
    /// Whether the kubelet has what it is to have.
    Ready,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error(
        "cannot reach sriovdp on {socket}: {source}; is the daemon running on this node, and --control-socket the same?"
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It broke off.
    #[error("sriovdp on {socket} gives no answer: {source}")]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It answers root and its own user alone.
    #[error("sriovdp on {socket} answers nothing; ask as root")]
    Refused {
        /// The socket.
        socket: PathBuf,
    },
    /// There can be no such socket.
    #[error(
        "cannot listen on {socket}: {source}; no pod can be explained until --control-socket is in a folder that can be written"
    )]
    Bind {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Asks a running daemon. It blocks.
pub fn ask(socket: &Path, question: &Question) -> Result<String, Error> {
    let unreachable = |source| Error::Unreachable { socket: socket.to_owned(), source };
    let mut stream = Blocking::connect(socket).map_err(unreachable)?;
    let mut talk = || -> io::Result<String> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let line = serde_json::to_string(question).map_err(io::Error::other)?;
        stream.write_all(line.as_bytes())?;
        stream.write_all(b"\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = talk().map_err(|source| Error::NoAnswer { socket: socket.to_owned(), source })?;
    if answer.is_empty() { Err(Error::Refused { socket: socket.to_owned() }) } else { Ok(answer) }
}

/// Asks a running daemon [`Question::Alive`] or [`Question::Ready`]. It blocks.
pub fn probe(socket: &Path, question: &Question) -> Result<Readiness, Error> {
    let answer = ask(socket, question)?;
    let wrong = |source| Error::NoAnswer { socket: socket.to_owned(), source: io::Error::other(source) };
    serde_json::from_str(&answer).map_err(wrong)
}

/// Listens, in the place of whoever did before.
pub(crate) fn listen(socket: &Path) -> Result<Listener, Error> {
    let bind = || -> io::Result<Listener> {
        if let Some(parent) = socket.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let from = UnixListener::bind(socket)?;
        Ok(Listener { from, socket: Socket::bound(socket), user: std::fs::metadata(socket)?.uid() })
    };
    bind().map_err(|source| Error::Bind { socket: socket.to_owned(), source })
}

/// The socket, which goes with this.
#[derive(Debug)]
pub(crate) struct Listener {
    from: UnixListener,
    socket: Socket,
    user: u32,
}

impl Listener {
    /// Answers for ever, several askers at a time.
    pub(crate) async fn serve<F>(self, answer: impl Fn(Question) -> F + Clone + Send + 'static)
    where
        F: Future<Output = String> + Send + 'static,
    {
        loop {
            let Ok((stream, _)) = self.from.accept().await else {
                // Out of file descriptors: whoever asked will ask again.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let allowed = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == self.user);
            if !allowed {
                tracing::warn!("{}: an asker that is not root got no answer", self.socket.path().display());
                continue;
            }
            let answer = answer.clone();
            tokio::spawn(async move {
                let talk = tokio::time::timeout(PATIENCE, talk(stream, answer)).await;
                if !matches!(talk, Ok(Ok(()))) {
                    tracing::debug!("an asker went away: {talk:?}");
                }
            });
        }
    }
}

async fn talk<F: Future<Output = String>>(
    stream: UnixStream,
    answer: impl Fn(Question) -> F,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(LONGEST)).read_line(&mut line).await?;
    let text = match serde_json::from_str(&line) {
        Ok(question) => answer(question).await,
        Err(error) => format!("no question that is known here: {error}\n"),
    };
    writer.write_all(text.as_bytes()).await?;
    writer.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_question_is_answered_and_nonsense_too() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("made/control.sock");
        let listener = listen(&socket).unwrap();
        let server = tokio::spawn(listener.serve(|question| async move { format!("{question:?}") }));
        let question = Question::Pod { pod: "ns/p".into(), json: true };
        let (asked, path) = (question.clone(), socket.clone());
        let answer = tokio::task::spawn_blocking(move || ask(&path, &asked)).await.unwrap().unwrap();
        assert_eq!(answer, format!("{question:?}"));
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(b"hello\n").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("no question that is known here"), "{said}");
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        assert!(!socket.exists());
        let error = ask(&socket, &question).unwrap_err().to_string();
        assert!(error.contains("is the daemon running on this node"), "{error}");
    }
}
