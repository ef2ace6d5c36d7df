//! The spec on disk, kept in line with what the observer knows; the work itself is done on the thread for files.

use std::sync::Arc;

use daemon::files::{self, told_when_stuck};
use gpu_config::Config;
use gpu_model::Gpu;

use super::{Keeping, Watching};
use crate::injection::{Injection, Need};
use crate::modprobe;
use crate::spec_file::{Depth, Kept, SpecFile, Wanted};
use crate::state::SpecState;

impl Watching {
    pub(super) fn want_spec(&mut self, depth: Depth) {
        self.spec_wanted = self.spec_wanted.max(Some(depth));
    }

    /// Has the CDI spec on disk brought in line with what is known, if that is wanted and nobody is at it.
    pub(super) fn keep_spec(&mut self) -> Option<Keeping> {
        let depth = self.spec_wanted?;
        let need = self.need();
        let wanted = Wanted { need, management: self.has_management() };
        let spec = self.spec.take()?;
        self.spec_wanted = None;
        // Names of GPUs that are gone stay resolvable: a container that holds one may be started again.
        let inventory = self.inventory.clone();
        let is_unlisted = |gpu: &&Gpu| !self.listed.contains(&gpu.uuid);
        let unlisted: Vec<Gpu> = self.known.iter().filter(is_unlisted).cloned().collect();
        let driver = self.with.driver.clone();
        let component = self.with.components.spec.clone();
        let (files, modprobe) = (self.with.files.clone(), Arc::clone(&self.with.modprobe));
        // It would load a driver that somebody is about to replace.
        let is_quiet = self.is_quiet();
        Some(Box::pin(async move {
            let look = |mut spec: SpecFile| {
                let (inventory, unlisted, driver) = (inventory.clone(), unlisted.clone(), driver.clone());
                let work = files.run(move || {
                    let kept = spec.keep(&inventory, &unlisted, &driver, depth, wanted);
                    (spec, kept)
                });
                told_when_stuck(work, files::PATIENCE, &component)
            };
            let (spec, kept) = look(spec).await?;
            if kept.has_uvm != Some(false) || need < Need::Nodes || is_quiet {
                return Ok((spec, kept));
            }
            let settings = driver.clone();
            let search =
                files.run(move || settings.find().ok().filter(|root| modprobe::is_in(root)).cloned());
            let is_helped = match told_when_stuck(search, files::PATIENCE, &component).await? {
                Some(root) => modprobe.run(&root).await,
                None => false,
            };
            if is_helped { look(spec).await } else { Ok((spec, kept)) }
        }))
    }

    /// Gives whether what can be handed out, or why it cannot, is different now.
    pub(super) fn take_spec(&mut self, (spec, kept): (SpecFile, Kept)) -> bool {
        self.spec = Some(spec);
        let need = self.need();
        if kept.need < need {
            // The config changed meanwhile, and a closer look is under way.
            self.want_spec(Depth::Full);
            return false;
        }
        let components = &self.with.components;
        match kept.has_uvm {
            _ if need < Need::Nodes => components.nodes.ready(),
            Some(true) => components.nodes.ready(),
            Some(false) => {
                let problem = self.with.modprobe.problem();
                let problem = problem.map_or(String::new(), |problem| format!(" ({problem})"));
                components.nodes.not_ready(
                    "uvm-missing",
                    format!("/dev/nvidia-uvm does not exist, and CUDA does not start without it: run `nvidia-modprobe -u -c0` on the host{problem}"),
                );
            }
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
                let is_news = self.spec_problem.is_some()
                    || self.lacking != spec.lacking
                    || self.mig_lacking != spec.mig_lacking
                    || *self.host != spec.host;
                self.host = Arc::new(spec.host);
                self.lacking = spec.lacking;
                self.mig_lacking = spec.mig_lacking;
                self.spec_problem = None;
                self.had_spec = true;
                is_news
            }
            Err(problem) => {
                let code = if self.had_spec { "cdi-spec-stale" } else { "cdi-spec-missing" };
                if need < Need::Nodes {
                    // Nobody needs it; it is looked at again when the inventory is.
                    components.spec.ready();
                    self.spec_problem = None;
                    return false;
                }
                components.spec.not_ready(code, problem.clone());
                self.with.metrics.spec_written("failed", false);
                let is_news = self.spec_problem.as_ref() != Some(&problem);
                self.spec_problem = Some(problem);
                is_news
            }
        }
    }

    /// What of the host has to be known, by the config that is in force or is about to be.
    pub(super) fn need(&self) -> Need {
        if let Some(offering) = &self.offering {
            return offering.injection.need();
        }
        let config = self.with.config.borrow();
        Injection::new(&self.with.flags.injection, config.as_deref().unwrap_or(&Config::default()))
            .map_or(Need::Spec, |injection| injection.need())
    }

    pub(super) fn spec_state(&self) -> SpecState {
        match &self.spec_problem {
            _ if self.need() < Need::Nodes => SpecState::Ready,
            None => SpecState::Ready,
            Some(reason) if self.had_spec => SpecState::Stale { reason: reason.clone() },
            Some(_) => SpecState::Pending,
        }
    }
}
