//! The spec on disk, kept in line with what the observer knows; the work itself is done on the thread for files.

use gpu_model::Inventory;

use super::{Keeping, Watching};
use crate::files::{self, told_when_stuck};
use crate::spec_file::{Depth, Kept, SpecFile};
use crate::state::SpecState;

impl Watching {
    pub(super) fn want_spec(&mut self, depth: Depth) {
        self.spec_wanted = self.spec_wanted.max(Some(depth));
    }

    /// Has the CDI spec on disk brought in line with what is known, if that is wanted and nobody is at it.
    pub(super) fn keep_spec(&mut self) -> Option<Keeping> {
        let depth = self.spec_wanted?;
        let mut spec = self.spec.take()?;
        self.spec_wanted = None;
        // Names of GPUs that are gone stay resolvable: a container that holds one may be started again.
        let everything = Inventory { gpus: self.known.clone(), ..self.inventory.clone() };
        let driver = self.with.driver.clone();
        let component = self.with.components.spec.clone();
        let work = self.with.files.run(move || {
            let kept = spec.keep(&everything, &driver, depth);
            (spec, kept)
        });
        Some(Box::pin(async move { told_when_stuck(work, files::PATIENCE, &component).await }))
    }

    /// Gives whether what can be handed out, or why it cannot, is different now.
    pub(super) fn take_spec(&mut self, (spec, kept): (SpecFile, Kept)) -> bool {
        self.spec = Some(spec);
        let components = &self.with.components;
        match kept.has_uvm {
            Some(true) => components.nodes.ready(),
            Some(false) => components.nodes.not_ready(
                "uvm-missing",
                "/dev/nvidia-uvm does not exist, and CUDA does not start without it: run `nvidia-modprobe -u -c0` on the host",
            ),
            None => {}
        }
        match kept.result {
            Ok(spec) => {
                components.spec.ready();
                if spec.was_written {
                    tracing::info!(
                        gpus = self.known.len(),
                        left_out = spec.lacking.len(),
                        "CDI spec written"
                    );
                    self.with.metrics.spec_written("ok", true);
                }
                let is_news = self.spec_problem.is_some() || self.lacking != spec.lacking;
                self.lacking = spec.lacking;
                self.spec_problem = None;
                self.had_spec = true;
                is_news
            }
            Err(problem) => {
                let code = if self.had_spec { "cdi-spec-stale" } else { "cdi-spec-missing" };
                components.spec.not_ready(code, problem.clone());
                self.with.metrics.spec_written("failed", false);
                let is_news = self.spec_problem.as_ref() != Some(&problem);
                self.spec_problem = Some(problem);
                is_news
            }
        }
    }

    pub(super) fn spec_state(&self) -> SpecState {
        match &self.spec_problem {
            None => SpecState::Written,
            Some(reason) if self.had_spec => SpecState::Stale { reason: reason.clone() },
            Some(_) => SpecState::Pending,
        }
    }
}
