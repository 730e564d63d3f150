//! The answers of the running daemon about pods: everything looked at anew for each question.
//! It must not judge what it sees.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::Options;
use crate::control::{self, Question};
use crate::explain::pod::{Asked, Attached, Seen, explain};
use crate::holdings::{self, Sources};
use crate::pool::Pool;
use crate::reconcile::{Plugin, look, on_thread};

/// Where to look.
#[derive(Clone, Debug)]
struct Sight {
    state: PathBuf,
    sysfs: PathBuf,
    sources: Sources,
    pools: watch::Receiver<Vec<Arc<Pool>>>,
}

/// Answers until the handle is aborted; `None` where there can be no socket, which is no reason not to serve.
pub(super) fn serve(
    options: &Options,
    sources: Sources,
    pools: watch::Receiver<Vec<Arc<Pool>>>,
) -> Option<JoinHandle<()>> {
    let sight =
        Sight { state: options.cni_state_dir.clone(), sysfs: options.sysfs_root.clone(), sources, pools };
    let listener = control::listen(&options.control_socket).inspect_err(|error| tracing::warn!("{error}"));
    Some(tokio::spawn(listener.ok()?.serve(move |question| answer(sight.clone(), question))))
}

async fn answer(sight: Sight, question: Question) -> String {
    let asked: Asked = match question.pod.parse() {
        Ok(asked) => asked,
        Err(error) => return format!("{:?}: {error}\n", question.pod),
    };
    let held = holdings::read(&sight.sources).await.map_err(|error| error.to_string());
    let attachments = on_thread(move || attachments(&Plugin::all(&sight.state, &sight.sysfs))).await;
    let seen =
        Seen { held, pools: sight.pools.borrow().clone(), attachments: attachments.unwrap_or_default() };
    let explanation = explain(&asked, &seen);
    if question.json { explanation.json() } else { explanation.text() }
}

fn attachments(plugins: &[Plugin]) -> Vec<Attached> {
    let attached = |(plugin, leftover): (Plugin, attachment::Leftover)| {
        let link = leftover.record.as_ref().and_then(|record| plugin.link(record));
        Attached { plugin: plugin.name, leftover, link }
    };
    look(plugins).found.into_iter().map(attached).collect()
}
