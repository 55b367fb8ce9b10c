//! The rules: names, descriptions and addresses, as the reference has them.

use std::fmt;

/// A rule. `Display` writes its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "`Rule::description` says what each is about")]
pub enum Rule {
    ConsistentInstructionCasing,
    CopyIgnoredFile,
    DuplicateStageName,
    ExposeInvalidFormat,
    ExposeProtoCasing,
    FromAsCasing,
    FromPlatformFlagConstDisallowed,
    InvalidBaseImagePlatform,
    InvalidDefaultArgInFrom,
    InvalidDefinitionDescription,
    JSONArgsRecommended,
    LegacyKeyValueFormat,
    MaintainerDeprecated,
    MultipleInstructionsDisallowed,
    NoEmptyContinuation,
    RedundantTargetPlatform,
    ReservedStageName,
    SecretsUsedInArgOrEnv,
    StageNameCasing,
    UndefinedArgInFrom,
    UndefinedVar,
    WorkdirRelativePath,
}

impl Rule {
    /// Every rule, by name.
    pub const ALL: [Self; 22] = [
        Self::ConsistentInstructionCasing,
        Self::CopyIgnoredFile,
        Self::DuplicateStageName,
        Self::ExposeInvalidFormat,
        Self::ExposeProtoCasing,
        Self::FromAsCasing,
        Self::FromPlatformFlagConstDisallowed,
        Self::InvalidBaseImagePlatform,
        Self::InvalidDefaultArgInFrom,
        Self::InvalidDefinitionDescription,
        Self::JSONArgsRecommended,
        Self::LegacyKeyValueFormat,
        Self::MaintainerDeprecated,
        Self::MultipleInstructionsDisallowed,
        Self::NoEmptyContinuation,
        Self::RedundantTargetPlatform,
        Self::ReservedStageName,
        Self::SecretsUsedInArgOrEnv,
        Self::StageNameCasing,
        Self::UndefinedArgInFrom,
        Self::UndefinedVar,
        Self::WorkdirRelativePath,
    ];

    /// Returns the name by which `skip=` and `experimental=` know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConsistentInstructionCasing => "ConsistentInstructionCasing",
            Self::CopyIgnoredFile => "CopyIgnoredFile",
            Self::DuplicateStageName => "DuplicateStageName",
            Self::ExposeInvalidFormat => "ExposeInvalidFormat",
            Self::ExposeProtoCasing => "ExposeProtoCasing",
            Self::FromAsCasing => "FromAsCasing",
            Self::FromPlatformFlagConstDisallowed => "FromPlatformFlagConstDisallowed",
            Self::InvalidBaseImagePlatform => "InvalidBaseImagePlatform",
            Self::InvalidDefaultArgInFrom => "InvalidDefaultArgInFrom",
            Self::InvalidDefinitionDescription => "InvalidDefinitionDescription",
            Self::JSONArgsRecommended => "JSONArgsRecommended",
            Self::LegacyKeyValueFormat => "LegacyKeyValueFormat",
            Self::MaintainerDeprecated => "MaintainerDeprecated",
            Self::MultipleInstructionsDisallowed => "MultipleInstructionsDisallowed",
            Self::NoEmptyContinuation => "NoEmptyContinuation",
            Self::RedundantTargetPlatform => "RedundantTargetPlatform",
            Self::ReservedStageName => "ReservedStageName",
            Self::SecretsUsedInArgOrEnv => "SecretsUsedInArgOrEnv",
            Self::StageNameCasing => "StageNameCasing",
            Self::UndefinedArgInFrom => "UndefinedArgInFrom",
            Self::UndefinedVar => "UndefinedVar",
            Self::WorkdirRelativePath => "WorkdirRelativePath",
        }
    }

    /// Returns what it asks for.
    #[rustfmt::skip]
    pub fn description(self) -> &'static str {
        match self {
            Self::ConsistentInstructionCasing => "All commands within the Dockerfile should use the same casing (either upper or lower)",
            Self::CopyIgnoredFile => "Attempting to Copy file that is excluded by .dockerignore",
            Self::DuplicateStageName => "Stage names should be unique",
            Self::ExposeInvalidFormat => "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
            Self::ExposeProtoCasing => "Protocol in EXPOSE instruction should be lowercase",
            Self::FromAsCasing => "The 'as' keyword should match the case of the 'from' keyword",
            Self::FromPlatformFlagConstDisallowed => "FROM --platform flag should not use a constant value",
            Self::InvalidBaseImagePlatform => "Base image platform does not match expected target platform",
            Self::InvalidDefaultArgInFrom => "Default value for global ARG results in an empty or invalid base image name",
            Self::InvalidDefinitionDescription => "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
            Self::JSONArgsRecommended => "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
            Self::LegacyKeyValueFormat => "Legacy key/value format with whitespace separator should not be used",
            Self::MaintainerDeprecated => "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
            Self::MultipleInstructionsDisallowed => "Multiple instructions of the same type should not be used in the same stage",
            Self::NoEmptyContinuation => "Empty continuation lines will become errors in a future release",
            Self::RedundantTargetPlatform => "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            Self::ReservedStageName => "Reserved words should not be used as stage names",
            Self::SecretsUsedInArgOrEnv => "Sensitive data should not be used in the ARG or ENV commands",
            Self::StageNameCasing => "Stage names should be lowercase",
            Self::UndefinedArgInFrom => "FROM command must use declared ARGs",
            Self::UndefinedVar => "Variables should be defined before their use",
            Self::WorkdirRelativePath => "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
        }
    }

    /// Whether it counts only where `experimental=` asks for it; `skip=` has no effect on it.
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// Returns the address of its documentation, if it has one.
    pub fn url(self) -> Option<String> {
        if self == Self::InvalidBaseImagePlatform {
            return None;
        }
        Some(format!("https://docs.docker.com/go/dockerfile/rule/{}/", kebab(self.name())))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `JSONArgsRecommended` as `json-args-recommended`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    let mut before = None;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_lower = |letter: char| letter.is_ascii_lowercase();
        let opens_word =
            before.is_some_and(is_lower) || letters.peek().copied().is_some_and(is_lower);
        if letter.is_ascii_uppercase() && before.is_some() && opens_word {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
        before = Some(letter);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let address = |rule: Rule| rule.url().unwrap_or_default();
        let base = "https://docs.docker.com/go/dockerfile/rule/";
        let table = [
            (Rule::JSONArgsRecommended, "json-args-recommended/"),
            (Rule::UndefinedArgInFrom, "undefined-arg-in-from/"),
            (Rule::FromPlatformFlagConstDisallowed, "from-platform-flag-const-disallowed/"),
        ];
        for (rule, end) in table {
            assert_eq!(address(rule), format!("{base}{end}"));
        }
        assert_eq!(Rule::InvalidBaseImagePlatform.url(), None);
    }

    #[test]
    fn all_rules_are_listed_by_name() {
        assert!(Rule::ALL.is_sorted_by(|a, b| a < b && a.name() < b.name()));
    }
}
