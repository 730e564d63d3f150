//! The answers of the running daemon: about pods, with everything looked at anew for each question, and to probes.
//! It must not judge what it sees.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::Options;
use crate::control::{self, Question};
use crate::explain::pod::{Asked, Attached, Seen, explain};
use crate::holdings::{self, Sources};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::reconcile::{Plugin, look, on_thread};

/// Where to look.
#[derive(Clone, Debug)]
struct Sight {
    state: PathBuf,
    sysfs: PathBuf,
    sources: Sources,
    pools: watch::Receiver<Vec<Arc<Pool>>>,
    metrics: Metrics,
}

/// Answers until the handle is aborted; `None` where there can be no socket, which is no reason not to serve.
pub(super) fn serve(
    options: &Options,
    sources: Sources,
    pools: watch::Receiver<Vec<Arc<Pool>>>,
    metrics: Metrics,
) -> Option<JoinHandle<()>> {
    let (state, sysfs) = (options.cni_state_dir.clone(), options.sysfs_root.clone());
    let sight = Sight { state, sysfs, sources, pools, metrics };
    let listener = control::listen(&options.control_socket).inspect_err(|error| tracing::warn!("{error}"));
    Some(tokio::spawn(listener.ok()?.serve(move |question| answer(sight.clone(), question))))
}

async fn answer(sight: Sight, question: Question) -> String {
    let health = match question {
        Question::Pod { pod, json } => return about(sight, &pod, json).await,
        Question::Alive => sight.metrics.liveness(),
        Question::Ready => sight.metrics.readiness(),
    };
    serde_json::json!(health).to_string() + "\n"
}

async fn about(sight: Sight, pod: &str, json: bool) -> String {
    let asked: Asked = match pod.parse() {
        Ok(asked) => asked,
        Err(error) => return format!("{pod:?}: {error}\n"),
    };
    let held = holdings::read(&sight.sources).await.map_err(|error| error.to_string());
    let attachments = on_thread(move || attachments(&Plugin::all(&sight.state, &sight.sysfs))).await;
    let seen =
        Seen { held, pools: sight.pools.borrow().clone(), attachments: attachments.unwrap_or_default() };
    let explanation = explain(&asked, &seen);
    if json { explanation.json() } else { explanation.text() }
}

fn attachments(plugins: &[Plugin]) -> Vec<Attached> {
    let attached = |(plugin, leftover): (Plugin, attachment::Leftover)| {
        let link = leftover.record.as_ref().and_then(|record| plugin.link(record));
        Attached { plugin: plugin.name, leftover, link }
    };
    look(plugins).found.into_iter().map(attached).collect()
}
