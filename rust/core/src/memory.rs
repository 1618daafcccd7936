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

/// So many copies of a value.
///
/// # Errors
/// [`Error::OutOfMemory`], where allocating would abort.
pub fn filled<T: Clone>(value: T, count: usize) -> Result<Vec<T>> {
    let mut values = list(count)?;
    values.resize(count, value);
    Ok(values)
}

/// A copy of some values, in the order in which they come.
///
/// # Errors
/// [`Error::OutOfMemory`], where allocating would abort.
pub fn collected<T>(values: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut collected = list(values.len())?;
    collected.extend(values);
    Ok(collected)
}

/// An empty list with room for so many values.
///
/// # Errors
/// [`Error::OutOfMemory`], where allocating would abort.
pub(crate) fn list<T>(count: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    reserve(&mut values, count)?;
    Ok(values)
}

fn reserve<T>(values: &mut Vec<T>, count: usize) -> Result<()> {
    values
        .try_reserve_exact(count)
        .map_err(|_| Error::OutOfMemory {
            bytes: count as u128 * size_of::<T>() as u128,
        })
}

/// An array of `rows × columns` zeros. Its pages are touched first by the threads that
/// fill them.
pub(crate) fn zeros(rows: usize, columns: usize) -> Result<Vec<f64>> {
    Ok(vec![0.0; room(rows, columns)?])
}
