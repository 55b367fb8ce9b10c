//! Commands for another CPU: refused before anything runs where no emulator takes them, else given what theirs needs.

use std::collections::BTreeSet;

use super::{SolveError, Solver, StepError};
use crate::graph::{Op, Run, VertexId};
use crate::sandbox::spec::Mount;

impl Solver<'_> {
    /// Refuses commands that are to run and cannot. What a base that is no image has in it is not known before: a
    /// program for another CPU is then found out when it is executed.
    pub(super) fn refuse_foreign(&self, pending: &BTreeSet<VertexId>) -> Result<(), SolveError> {
        for id in pending {
            let Op::Run(run) = &self.graph.get(*id).op else { continue };
            if let Some(programs) = &run.programs {
                let mounts = self.emulators.mounts(&programs.architecture);
                mounts.map_err(|error| self.failed(*id, StepError::Foreign(error)))?;
            }
        }
        Ok(())
    }

    /// Returns what the emulator of a command needs.
    pub(super) fn emulator(&self, run: &Run) -> Vec<Mount> {
        let programs = run.programs.as_ref().unwrap_or(&run.platform);
        self.emulators.mounts(&programs.architecture).unwrap_or_default()
    }
}
