//! The names of how a run ended. What they mean is in docs/outcomes.md.

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Outcome {
    /// None of the other outcomes can be shown after the given number of epochs.
    #[default]
    Unresolved,
    /// The weights are at rest in a minimum that attracts them.
    Converged,
    /// A layer of ReLU is off for every row, so that no input reaches the output any more.
    Dead,
    /// The loss or a weight became non-finite, or the loss passed the bound.
    Diverged,
    /// The weights return every so many epochs.
    Oscillating,
    /// The loss stands still, and no minimum is the reason: see [`Stall`].
    Stalled,
    /// The weights stay bounded, never settle, and forget where they started.
    Chaotic,
}

impl Outcome {
    /// Every outcome, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Unresolved,
        Self::Converged,
        Self::Dead,
        Self::Diverged,
        Self::Oscillating,
        Self::Stalled,
        Self::Chaotic,
    ];

    /// The name used in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Converged => "converged",
            Self::Dead => "dead",
            Self::Diverged => "diverged",
            Self::Oscillating => "oscillating",
            Self::Stalled => "stalled",
            Self::Chaotic => "chaotic",
        }
    }
}

/// Where a run stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Stall {
    /// It did not.
    #[default]
    None,
    /// At a saddle: the loss falls from there in some direction.
    Saddle,
    /// On a plateau: the loss is flat in every direction.
    Plateau,
    /// Exactly on a minimum that repels: the learning rate is too large for its curvature.
    Repelling,
}

impl Stall {
    /// Every place, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::None, Self::Saddle, Self::Plateau, Self::Repelling];

    /// The name used in logs; empty for a run that did not stall.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Saddle => "saddle",
            Self::Plateau => "plateau",
            Self::Repelling => "repelling minimum",
        }
    }
}
