//! FROM: base and platform of a stage, expanded with the global arguments.

use super::GraphError;
use super::args::Env;
use super::facts::{Notes, Seen};
use super::stage::Stage;
use crate::dockerfile::ast::{self, Command, Instruction};
use crate::dockerfile::suggest;
use crate::dockerfile::word::{Expander, Names};
use crate::oci::Platform;

/// What FROM is read with.
pub(super) struct Froms<'a, 'f> {
    pub(super) globals: &'a Env,
    /// The ARGs before the first FROM.
    pub(super) declarations: &'a [Command],
    pub(super) expander: &'a Expander,
    pub(super) notes: &'a mut Notes<'f>,
}

impl Froms<'_, '_> {
    /// Returns the stage that a FROM opens, without its steps.
    pub(super) fn stage(&mut self, stage: &ast::Stage, index: usize) -> Result<Stage, GraphError> {
        self.notes.go_to(stage.span, &stage.comments);
        let (base_name, _) = self.expand(&stage.base)?;
        if base_name.is_empty() {
            let message =
                format!("the base `{}` is empty once its variables are expanded", stage.base);
            return Err(GraphError::new(message).hint(
                "only ARGs before the first FROM, and predefined ones, are visible to FROM",
            ));
        }
        let platform = match stage.platform.as_str() {
            "" => None,
            _ => Some(self.platform(stage)?),
        };
        let display =
            if stage.name.is_empty() { format!("stage-{index}") } else { stage.name.clone() };
        Ok(Stage {
            name: stage.name.clone(),
            display,
            base_name,
            base: None,
            platform,
            replaced_by: None,
            steps: Vec::new(),
            implicit: false,
            span: stage.span,
        })
    }

    /// Expands a word, and notes the variables that are not declared.
    fn expand(&mut self, text: &str) -> Result<(String, Names), GraphError> {
        let lookup = |name: &str| self.globals.get(name).map(str::to_owned);
        let mut names = Names::default();
        let result = self.expander.process_word(text, &lookup, &mut names);
        for name in &names.unmatched {
            if self.known().any(|known| known == name) {
                continue;
            }
            let near = suggest::similar(name, self.known()).map(str::to_owned);
            self.notes.add(Seen::UndeclaredArgument { name: name.clone(), near });
        }
        Ok((result?, names))
    }

    /// Returns the names that FROM may use: those with a value, and those that are declared without one.
    fn known(&self) -> impl Iterator<Item = &str> {
        let definitions = self.declarations.iter().flat_map(|command| match &command.instruction {
            Instruction::Arg(definitions) => definitions.as_slice(),
            _ => &[],
        });
        self.globals.keys().chain(definitions.map(|definition| definition.key.as_str()))
    }

    fn platform(&mut self, stage: &ast::Stage) -> Result<Platform, GraphError> {
        const TARGET: &str = "TARGETPLATFORM";
        let written = &stage.platform;
        let (value, names) = self.expand(written)?;
        let parsed = Platform::parse(&value);
        let only_target = names.unmatched.is_empty() && names.matched.iter().eq([TARGET]);
        if only_target && self.globals.get(TARGET) == Some(value.as_str()) {
            self.notes.add(Seen::TargetPlatform { written: written.clone() });
        }
        if let Ok(platform) = &parsed
            && names == Names::default()
        {
            let (platform, stage) = (platform.clone(), stage.name.clone());
            self.notes.add(Seen::ConstantPlatform { value: value.clone(), platform, stage });
        }
        if value.is_empty() {
            let message =
                format!("the platform `{written}` is empty once its variables are expanded");
            let name = written.trim_matches(|c| matches!(c, '$' | '{' | '}'));
            return Err(GraphError::new(message).suggest(name, self.globals.keys()));
        }
        Ok(parsed?)
    }
}
