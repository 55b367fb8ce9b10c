//! RUN --device: a CDI device and whether the step needs it.

use super::csv::csv_record;
use super::suggest;

/// A device that a step asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// The name, `vendor/class=name` or a class.
    pub name: String,
    /// Whether its absence is an error.
    pub required: bool,
}

/// A device that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The options are no list with commas.
    #[error("the options of `--device` are not a list with commas")]
    Csv,
    /// Two names.
    #[error("`--device` names two devices: `{0}` and `{1}`")]
    TwoNames(String, String),
    /// An option that does not exist.
    #[error("`--device` has no option `{key}`")]
    UnknownOption {
        /// The option.
        key: String,
        /// The one that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// `required` is neither true nor false.
    #[error("`{0}` is not a value of the device option `required`")]
    Required(String),
}

impl DeviceError {
    /// Returns what to try, if something can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Csv => Some("write it as `vendor/class=name,required`".into()),
            Self::TwoNames(..) => Some("use one `--device` for each".into()),
            Self::UnknownOption { suggestion, .. } => {
                suggestion.map(|s| format!("did you mean `{s}`?"))
            }
            Self::Required(_) => Some("use `true` or `false`".into()),
        }
    }
}

/// `device ::= device_option ("," device_option)*`
pub fn device(text: &str) -> Result<Device, DeviceError> {
    let mut device = Device::default();
    for field in csv_record(text).ok_or(DeviceError::Csv)? {
        device_option(&mut device, field)?;
    }
    Ok(device)
}

/// ```text
/// device_option ::= 'required' ("=" boolean)? | 'name=' [^",#xA]+
///                 | ([^",=#xA]+ - ('required' | 'name')) ("=" [^",#xA]*)?
/// ```
fn device_option(device: &mut Device, field: String) -> Result<(), DeviceError> {
    let (key, value) = match field.split_once('=') {
        Some((key, value)) => (key.to_lowercase(), Some(value)),
        None => (field.to_lowercase(), None),
    };
    match (key.as_str(), value) {
        ("required", None) => device.required = true,
        ("required", Some(value)) => {
            device.required =
                super::boolean(value).ok_or_else(|| DeviceError::Required(value.to_owned()))?;
        }
        ("name", Some(value)) if device.name.is_empty() => device.name = value.to_owned(),
        ("name", Some(value)) => {
            return Err(DeviceError::TwoNames(device.name.clone(), value.to_owned()));
        }
        _ if device.name.is_empty() => device.name = field,
        _ => {
            let suggestion = suggest::nearest(&key, ["name", "required"]);
            return Err(DeviceError::UnknownOption { key, suggestion });
        }
    }
    Ok(())
}
