//! Allocates memory for results, and reports an error where there is too little of it.

use crate::{Error, Result};

/// The number of values in an array of `rows × columns`, if memory has room for it.
///
/// # Errors
/// [`Error::OutOfMemory`], where allocating would abort.
pub fn room(rows: usize, columns: usize) -> Result<usize> {
    let bytes = rows as u128 * columns as u128 * size_of::<f64>() as u128;
    let out_of_memory = Error::OutOfMemory { bytes };
    let Some(count) = rows.checked_mul(columns) else {
        return Err(out_of_memory);
    };
    if Vec::<f64>::new().try_reserve_exact(count).is_err() {
        return Err(out_of_memory);
    }
    Ok(count)
}

/// An array of `rows × columns` zeros. Its pages are touched first by the threads that
/// fill them.
pub(crate) fn zeros(rows: usize, columns: usize) -> Result<Vec<f64>> {
    Ok(vec![0.0; room(rows, columns)?])
}
