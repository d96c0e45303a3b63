//! Gathers what is wrong with a request, so that one answer names all of it.

use std::collections::BTreeSet;

use super::error::ScimError;

/// The faults of one request.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    first: Option<ScimError>,
    /// The attributes, by their paths, whose values cannot be judged any further.
    unread: BTreeSet<String>,
}

impl Faults {
    /// Keeps the fault of a result, and returns its value if it has one.
    ///
    /// # Errors
    /// An error that ends the reading: the request takes too much work, or the server failed.
    pub fn keep<T>(&mut self, result: Result<T, ScimError>) -> Result<Option<T>, ScimError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_final() => Err(error),
            Err(error) => {
                match &mut self.first {
                    Some(first) => first.join(error),
                    first => *first = Some(error),
                }
                Ok(None)
            }
        }
    }

    /// The same for the value of an attribute. If it has a fault, rules on the whole resource leave it out.
    ///
    /// # Errors
    /// Those of [`Faults::keep`].
    pub fn keep_of<T>(&mut self, path: &str, result: Result<T, ScimError>) -> Result<Option<T>, ScimError> {
        let kept = self.keep(result)?;
        if kept.is_none() {
            self.unread.insert(path.to_owned());
        }
        Ok(kept)
    }

    /// Whether an attribute has a fault already.
    pub fn is_unread(&self, path: &str) -> bool {
        self.unread.contains(path)
    }

    /// Whether there is no fault.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Ends the gathering.
    ///
    /// # Errors
    /// One error with all faults. It has the kind of the first.
    pub fn finish(self) -> Result<(), ScimError> {
        self.first.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_FAULTS_NAMED;
    use crate::scim::error::ErrorKind;

    #[test]
    fn one_error_names_each_fault_once_and_counts_the_rest() {
        let mut faults = Faults::default();
        for at in 0..MAX_FAULTS_NAMED + 3 {
            for _ in 0..2 {
                let fault = Err::<(), _>(ScimError::invalid_value(format!("Fault {at}.")));
                assert_eq!(faults.keep(fault), Ok(None));
            }
        }
        faults.keep(Err::<(), _>(ScimError::invalid_syntax("Another kind"))).expect("a fault");
        let error = faults.finish().expect_err("faults");
        assert_eq!(error.kind, ErrorKind::InvalidValue);
        assert!(error.detail.starts_with("Fault 0. Fault 1. "), "{}", error.detail);
        assert!(error.detail.ends_with("Fault 9. There are 4 more faults."), "{}", error.detail);
    }

    #[test]
    fn one_fault_is_answered_as_it_is_and_the_end_of_the_budget_ends_it() {
        let mut faults = Faults::default();
        assert_eq!(faults.keep(Ok(3)), Ok(Some(3)));
        let fault = ScimError::mutability("Alone");
        faults.keep_of("title", Err::<(), _>(fault.clone())).expect("a fault");
        assert!(faults.is_unread("title") && !faults.is_unread("userName"));
        let large = ScimError::new(ErrorKind::PayloadTooLarge, "too much");
        assert_eq!(faults.keep(Err::<(), _>(large.clone())), Err(large));
        assert_eq!(faults.finish(), Err(fault));
    }
}
