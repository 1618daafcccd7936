use std::borrow::Cow;

/// What any function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong: the bad value, then what is allowed, then the fix.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A number that no computation can use.
    #[error("{name} is {value}; allowed: {allowed}; {fix}")]
    Value {
        /// Which argument, with its position in an array.
        name: String,
        /// The value as the caller gave it.
        value: String,
        /// What would have been accepted.
        allowed: Cow<'static, str>,
        /// What to do about it.
        fix: &'static str,
    },
    /// Arrays whose sizes do not fit together.
    #[error("{name} has {found}; allowed: {allowed}; {fix}")]
    Shape {
        /// Which argument.
        name: Cow<'static, str>,
        /// The size that was found.
        found: String,
        /// The size that fits.
        allowed: String,
        /// What to do about it.
        fix: &'static str,
    },
    /// The results would not fit in memory.
    #[error(
        "the results need {:.1} GiB, more than this machine can give; \
         allowed: what fits in memory; train in chunks or record less",
        *bytes as f64 / f64::from(1 << 30)
    )]
    OutOfMemory {
        /// Bytes of the array that could not be allocated.
        bytes: u128,
    },
    /// [`crate::Progress::cancel`] was set.
    #[error("training was cancelled")]
    Cancelled,
}

impl Error {
    /// The same error, of a value within another one.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        match &mut self {
            Self::Value { name, .. } => name.insert_str(0, &format!("{place} ")),
            Self::Shape { name, .. } => *name = format!("{place} {name}").into(),
            Self::OutOfMemory { .. } | Self::Cancelled => {}
        }
        self
    }
}

/// The first value that is NaN or infinite, named by its position.
pub(crate) fn all_finite(name: &str, values: &[f64], columns: usize) -> Result<()> {
    // The compiler makes vector instructions of a loop that has no early exit.
    let all = values
        .iter()
        .fold(true, |all, value| all & value.is_finite());
    let first = || values.iter().position(|value| !value.is_finite());
    let Some(index) = (!all).then(first).flatten() else {
        return Ok(());
    };
    Err(Error::Value {
        name: format!("{name}[{}, {}]", index / columns, index % columns),
        value: values[index].to_string(),
        allowed: "finite numbers".into(),
        fix: "remove or replace it",
    })
}

/// Refuses a setting outside of what is allowed.
pub(crate) fn within(
    name: &str,
    value: f64,
    is_allowed: impl Fn(f64) -> bool,
    allowed: &'static str,
    fix: &'static str,
) -> Result<()> {
    if is_allowed(value) {
        return Ok(());
    }
    Err(Error::Value {
        name: name.into(),
        value: value.to_string(),
        allowed: allowed.into(),
        fix,
    })
}

/// Refuses a count of zero.
pub(crate) fn at_least_one(name: &str, value: usize, fix: &'static str) -> Result<()> {
    let counts = |value: f64| value >= 1.0;
    within(name, value as f64, counts, "whole numbers from 1", fix)
}
