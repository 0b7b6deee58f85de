//! The model that travels with the program, as an [`Embedder`].
//!
//! Loaded when the first text comes, not before: most runs find nothing to
//! embed. It computes on blocking threads, in chunks small enough that progress
//! shows and a stop is heard, and gives up soon after nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio::task::{JoinError, spawn_blocking};

use super::local::LocalModel;
use super::{Embedder, Failure, Task};

/// The local model, once it is needed.
#[derive(Default)]
pub(super) struct InProcess {
    model: OnceCell<Arc<LocalModel>>,
}

/// Tells the blocking thread that its answer is not wanted any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl InProcess {
    async fn model(&self) -> Result<Arc<LocalModel>, Failure> {
        let load = || async {
            let loaded = spawn_blocking(LocalModel::load).await.map_err(|error| ended(&error))?;
            loaded
                .map(Arc::new)
                .map_err(|error| Failure::permanent(format!("the local model cannot be loaded: {error}")))
        };
        self.model.get_or_try_init(load).await.cloned()
    }
}

impl Embedder for InProcess {
    fn embed<'a>(
        &'a self,
        texts: &'a [String],
        _task: Task,
    ) -> BoxFuture<'a, Result<Vec<Vec<f32>>, Failure>> {
        async move {
            let model = self.model().await?;
            let texts = texts.to_vec();
            let given_up = Arc::new(AtomicBool::new(false));
            let _guard = CancelOnDrop(given_up.clone());
            let work = move || {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                model.embed(&texts, &|| given_up.load(Ordering::Relaxed))
            };
            let vectors = spawn_blocking(work).await.map_err(|error| ended(&error))?;
            vectors.ok_or_else(|| Failure::transient(None, "the local model was stopped"))
        }
        .boxed()
    }

    /// As many as the model computes at once: a third of a second's work at the most.
    fn max_texts(&self) -> usize {
        16
    }

    fn max_bytes(&self) -> usize {
        1 << 20
    }
}

/// A panic in the model is our own bug and goes on here; a runtime that ends takes the work with it.
fn ended(error: &JoinError) -> Failure {
    assert!(!error.is_panic(), "the local model panicked: {error}");
    Failure::transient(None, "the program is ending")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::embed::local::DIMENSION;

    #[tokio::test]
    async fn the_model_is_loaded_when_the_first_text_comes_and_answers_like_any_provider() {
        let embedder = InProcess::default();
        assert!(!embedder.model.initialized());

        let texts = ["Ada. Engineer.".to_owned(), "Bread and cakes".to_owned()];
        let vectors = embedder.embed(&texts, Task::Document).await.unwrap();

        assert!(embedder.model.initialized());
        assert_eq!(vectors.iter().map(Vec::len).collect::<Vec<_>>(), [DIMENSION; 2]);
    }

    #[test]
    fn dropping_the_request_stops_the_model() {
        let given_up = Arc::new(AtomicBool::new(false));
        drop(CancelOnDrop(given_up.clone()));
        assert!(given_up.load(Ordering::Relaxed));
    }
}
