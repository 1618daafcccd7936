//! How numbers are kept, multiplied and added: the whole difference between precisions.

use std::iter::repeat_n;

use aligned_vec::{AVec, ConstAlign};
use pulp::bytemuck::{self, Pod};
use pulp::{Simd, WithSimd};

use crate::activation::{Gains, TOGETHER};
use crate::Activation;

/// A number in a lane.
pub(crate) trait Number: Pod + PartialOrd + Into<f64> + Send + Sync {
    /// Arithmetic in which each product and each sum is rounded.
    type Exact: Arithmetic<Number = Self>;
    /// Arithmetic in which products are added without being rounded.
    type Fast: Arithmetic<Number = Self>;

    /// The largest finite one.
    const LARGEST: f64;

    fn rounded(value: f64) -> Self;
    fn is_finite(self) -> bool;

    /// Activates hidden neurons, which is defined in double precision.
    fn activate<S: Simd>(
        simd: S,
        activation: (Activation, &Gains),
        neurons: &mut [Self],
        derivatives: &mut [Self],
    );
}

impl Number for f64 {
    type Exact = Double<EXACT>;
    type Fast = Double<FUSED>;

    const LARGEST: f64 = Self::MAX;

    #[inline(always)]
    fn rounded(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    #[inline(always)]
    fn activate<S: Simd>(
        simd: S,
        activation: (Activation, &Gains),
        neurons: &mut [Self],
        derivatives: &mut [Self],
    ) {
        simd.vectorize(Activate {
            activation,
            neurons,
            derivatives,
        });
    }
}

impl Number for f32 {
    type Exact = Single<EXACT>;
    type Fast = Single<FUSED>;

    const LARGEST: f64 = Self::MAX as f64;

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    fn rounded(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    #[inline(always)]
    fn activate<S: Simd>(
        simd: S,
        activation: (Activation, &Gains),
        neurons: &mut [Self],
        derivatives: &mut [Self],
    ) {
        let pieces = neurons.chunks_mut(TOGETHER);
        for (values, derivatives) in pieces.zip(derivatives.chunks_mut(TOGETHER)) {
            let (mut wide, mut own) = ([0.0; TOGETHER], [0.0; TOGETHER]);
            for (wide, value) in wide.iter_mut().zip(&*values) {
                *wide = f64::from(*value);
            }
            simd.vectorize(Activate {
                activation,
                neurons: &mut wide[..values.len()],
                derivatives: &mut own[..values.len()],
            });
            for (value, wide) in values.iter_mut().zip(wide) {
                *value = Self::rounded(wide);
            }
            for (slope, own) in derivatives.iter_mut().zip(own) {
                *slope = Self::rounded(own);
            }
        }
    }
}

/// Activation in double precision, compiled once for an instruction set.
struct Activate<'a> {
    activation: (Activation, &'a Gains),
    neurons: &'a mut [f64],
    derivatives: &'a mut [f64],
}

impl WithSimd for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (activation, gains) = self.activation;
        activation.apply(gains, self.neurons, self.derivatives);
    }
}

/// Registers kept in memory, none of them across two lines of the cache.
pub(crate) type Aligned<V> = AVec<V, ConstAlign<64>>;

pub(crate) fn aligned<V: Copy>(value: V, count: usize) -> Aligned<V> {
    Aligned::from_iter(64, repeat_n(value, count))
}

/// Operations on registers of numbers; a lane is a run.
pub(crate) trait Arithmetic: Copy + Send + Sync + 'static {
    type Number: Number;
    type Vector<S: Simd>: Pod + Send + Sync;
    type Mask<S: Simd>: Copy;
    /// Whether products are added without being rounded.
    const FUSED: bool;

    fn splat<S: Simd>(simd: S, value: f64) -> Self::Vector<S>;
    fn add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn mul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn div<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn neg<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    fn abs<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    fn sqrt<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// a·b + c: rounded twice if exact, once if fast.
    fn mul_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// c − a·b, as [`Arithmetic::mul_add`].
    fn mul_sub<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// a if it is larger than b, else b.
    fn max<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a > b for b ≥ 0, by the bits: the units that multiply and add are left free. (A NaN may
    /// count as larger than any number.)
    fn exceeds<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// a where the mask is set, else 0.
    fn masked<S: Simd>(simd: S, mask: Self::Mask<S>, a: Self::Vector<S>) -> Self::Vector<S>;
    /// a·b where the mask is set, else a zero of either sign.
    fn masked_mul<S: Simd>(
        simd: S,
        mask: Self::Mask<S>,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
    ) -> Self::Vector<S>;
    fn select<S: Simd>(
        simd: S,
        mask: Self::Mask<S>,
        yes: Self::Vector<S>,
        no: Self::Vector<S>,
    ) -> Self::Vector<S>;

    /// Runs side by side in a register.
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self::Number>()
    }
}

/// Each product and each sum is rounded, as plain code does it.
pub(crate) const EXACT: bool = false;
/// Products are added without being rounded, where the machine can.
pub(crate) const FUSED: bool = true;

/// Double precision, exact or fused.
#[derive(Clone, Copy)]
pub(crate) struct Double<const FUSED: bool>;
/// Single precision, exact or fused.
#[derive(Clone, Copy)]
pub(crate) struct Single<const FUSED: bool>;

macro_rules! arithmetic {
    (
        $name:ident, $number:ident, $vector:ident, $mask:ident, $splat:ident, $add:ident, $sub:ident,
        $mul:ident, $div:ident, $neg:ident, $abs:ident, $sqrt:ident, $greater:ident, $max:ident, $and:ident,
        $select:ident, $mul_add:ident, $negate_mul_add:ident
    ) => {
        impl<const FUSED: bool> Arithmetic for $name<FUSED> {
            type Number = $number;
            type Vector<S: Simd> = S::$vector;
            type Mask<S: Simd> = S::$mask;
            const FUSED: bool = FUSED;

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: f64) -> S::$vector {
                simd.$splat(Number::rounded(value))
            }

            #[inline(always)]
            fn add<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn mul<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$mul(a, b)
            }

            #[inline(always)]
            fn div<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$div(a, b)
            }

            #[inline(always)]
            fn neg<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
                simd.$neg(a)
            }

            #[inline(always)]
            fn abs<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
                simd.$abs(a)
            }

            #[inline(always)]
            fn sqrt<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
                simd.$sqrt(a)
            }

            #[inline(always)]
            fn mul_add<S: Simd>(
                simd: S,
                a: S::$vector,
                b: S::$vector,
                c: S::$vector,
            ) -> S::$vector {
                if FUSED {
                    simd.$mul_add(a, b, c)
                } else {
                    simd.$add(c, simd.$mul(a, b))
                }
            }

            #[inline(always)]
            fn mul_sub<S: Simd>(
                simd: S,
                a: S::$vector,
                b: S::$vector,
                c: S::$vector,
            ) -> S::$vector {
                if FUSED {
                    simd.$negate_mul_add(a, b, c)
                } else {
                    simd.$sub(c, simd.$mul(a, b))
                }
            }

            #[inline(always)]
            fn max<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$max(a, b)
            }

            #[inline(always)]
            fn exceeds<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$mask {
                simd.$greater(pulp::cast(a), pulp::cast(b))
            }

            #[inline(always)]
            fn masked<S: Simd>(simd: S, mask: S::$mask, a: S::$vector) -> S::$vector {
                // Some machines have masks as wide as registers, others a bit for each lane.
                match bytemuck::try_cast(mask) {
                    Ok(bits) => simd.$and(bits, a),
                    Err(_) => simd.$select(mask, a, simd.$splat(0.0)),
                }
            }

            #[inline(always)]
            fn masked_mul<S: Simd>(
                simd: S,
                mask: S::$mask,
                a: S::$vector,
                b: S::$vector,
            ) -> S::$vector {
                // A factor that is masked once serves several products; a bit for each lane
                // goes into the product itself.
                match bytemuck::try_cast(mask) {
                    Ok(bits) => simd.$mul(a, simd.$and(bits, b)),
                    Err(_) => simd.$select(mask, simd.$mul(a, b), simd.$splat(0.0)),
                }
            }

            #[inline(always)]
            fn select<S: Simd>(
                simd: S,
                mask: S::$mask,
                yes: S::$vector,
                no: S::$vector,
            ) -> S::$vector {
                simd.$select(mask, yes, no)
            }
        }
    };
}

arithmetic!(
    Double,
    f64,
    f64s,
    m64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_f64s,
    div_f64s,
    neg_f64s,
    abs_f64s,
    sqrt_f64s,
    greater_than_i64s,
    max_f64s,
    and_f64s,
    select_f64s,
    mul_add_e_f64s,
    negate_mul_add_e_f64s
);
arithmetic!(
    Single,
    f32,
    f32s,
    m32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    div_f32s,
    neg_f32s,
    abs_f32s,
    sqrt_f32s,
    greater_than_i32s,
    max_f32s,
    and_f32s,
    select_f32s,
    mul_add_e_f32s,
    negate_mul_add_e_f32s
);

#[cfg(test)]
mod tests {
    use super::aligned;

    #[test]
    fn registers_are_in_one_line_of_the_cache() {
        for count in 1..100 {
            let registers = aligned([0.0_f64; 8], count);
            assert_eq!(registers.len(), count);
            assert_eq!(registers.as_ptr() as usize % 64, 0);
        }
    }
}
