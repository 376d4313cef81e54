//! Extensions inside the test's process.

use beamline_extension::{Extension, Running, Settings};
use tokio::time::timeout;

use crate::support::{LIMIT, Server};

impl Server {
    pub(crate) async fn serve(&self, extension: Extension) -> Running {
        self.serve_with(extension, |_| {}).await
    }

    pub(crate) async fn serve_with(
        &self,
        extension: Extension,
        change: impl FnOnce(&mut Settings),
    ) -> Running {
        let mut settings = Settings::for_url(&self.url);
        change(&mut settings);
        timeout(LIMIT, extension.serve(&settings))
            .await
            .expect("the extension starts")
            .unwrap()
    }
}
