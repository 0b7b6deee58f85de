//! The local model, as an [`Embedder`].
//!
//! Loaded when the first text comes, not before: most runs find nothing to
//! embed. It computes on blocking threads, in chunks small enough to show
//! progress and to notice a stop, and ends soon after its request is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio::task::{JoinError, spawn_blocking};

use super::extras::Extras;
use super::local::LocalModel;
use super::types::{Embedder, Failure, Task};
use crate::config::EmbeddingSettings;

pub(super) struct InProcess {
    model: OnceCell<Arc<LocalModel>>,
    extras: Extras,
}

/// Signals the blocking thread that its answer is no longer needed.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl InProcess {
    /// As many as the model computes at once: at most a third of a second.
    pub(super) const MAX_REQUEST_TEXTS: usize = 16;
    pub(super) const MAX_REQUEST_BYTES: usize = 1 << 20;

    pub(super) fn new(settings: &EmbeddingSettings) -> Self {
        Self { model: OnceCell::new(), extras: Extras::new(settings) }
    }

    async fn model(&self) -> Result<Arc<LocalModel>, Failure> {
        let load = || async {
            let loaded = spawn_blocking(LocalModel::load).await.map_err(|error| task_failure(&error))?;
            loaded
                .map(Arc::new)
                .map_err(|error| Failure::permanent(format!("the local model cannot be loaded: {error}")))
        };
        self.model.get_or_try_init(load).await.cloned()
    }
}

impl Embedder for InProcess {
    fn embed<'a>(&'a self, texts: &'a [String], task: Task) -> BoxFuture<'a, Result<Vec<Vec<f32>>, Failure>> {
        async move {
            let model = self.model().await?;
            let texts = self.extras.prefixed(texts, task).into_owned();
            let cancelled = Arc::new(AtomicBool::new(false));
            let _guard = CancelOnDrop(cancelled.clone());
            let work = move || {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                model.embed(&texts, &|| cancelled.load(Ordering::Relaxed))
            };
            let vectors = spawn_blocking(work).await.map_err(|error| task_failure(&error))?;
            vectors.ok_or_else(|| Failure::transient(None, "the local model was stopped"))
        }
        .boxed()
    }

    fn max_texts(&self) -> usize {
        Self::MAX_REQUEST_TEXTS
    }

    fn max_bytes(&self) -> usize {
        Self::MAX_REQUEST_BYTES
    }
}

/// A panic in the model is our own bug and resumes here; a runtime that ends cancels the work.
fn task_failure(error: &JoinError) -> Failure {
    assert!(!error.is_panic(), "the local model panicked: {error}");
    Failure::transient(None, "the local model was stopped: the program is ending")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::embed::local::DIMENSION;
    use crate::adapters::embed::test_settings;
    use crate::config::Provider;

    #[tokio::test]
    async fn the_model_is_loaded_when_the_first_text_comes_and_answers_like_any_provider() {
        let embedder = InProcess::new(&test_settings(Provider::Local, "m", DIMENSION));
        assert!(!embedder.model.initialized());

        let texts = ["Ada. Engineer.".to_owned(), "Bread and cakes".to_owned()];
        let vectors = embedder.embed(&texts, Task::Document).await.unwrap();

        assert!(embedder.model.initialized());
        assert_eq!(vectors.iter().map(Vec::len).collect::<Vec<_>>(), [DIMENSION; 2]);
    }

    #[test]
    fn dropping_the_request_stops_the_model() {
        let cancelled = Arc::new(AtomicBool::new(false));
        drop(CancelOnDrop(cancelled.clone()));
        assert!(cancelled.load(Ordering::Relaxed));
    }
}
