//! fedstill.
