//! A dry run as text: what happens, the picture, and in words what a picture cannot show.

mod cells;
mod picture;
mod places;
mod providers;
mod report;

pub(in crate::cli) use report::{Look, text};

#[cfg(test)]
mod tests;
