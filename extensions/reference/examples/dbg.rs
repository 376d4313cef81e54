fn main() {
    let d = beamline_reference_extensions::pii::Detector::default();
    for line in std::io::stdin().lines() {
        let l = line.unwrap();
        let l = l.replace("\\n", "\n");
        let f = d.find(&l);
        println!(
            "{:?} -> {:?}",
            l,
            f.iter()
                .map(|f| (f.kind, &l[f.range.clone()]))
                .collect::<Vec<_>>()
        );
    }
}
