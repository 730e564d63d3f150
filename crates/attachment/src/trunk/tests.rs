use testkit::sysfs::Tree;

use super::*;

const PF: &str = "0000:3b:00.0";

/// A PF of that driver, whose VF 1 has the list as the driver writes it.
fn node(driver: &str, list: &str) -> (Tree, Sysfs, Pf) {
    let tree = Tree::new();
    tree.pf(PF, "ens1f0").driver(driver);
    tree.vf("0000:3b:02.0", PF);
    tree.vf("0000:3b:02.1", PF);
    tree.write(format!("sys/bus/pci/devices/{PF}/sriov/1/trunk"), list);
    let sysfs = Sysfs::new(tree.sys());
    (tree, sysfs, Pf { address: PF.parse().unwrap(), vf: 1 })
}

fn set_of(text: &str) -> VlanSet {
    text.parse().unwrap()
}

/// A driver that does what it is told to the file's own text, until it was told `most` times.
fn driver(form: Form, most: usize) -> impl FnMut(&Path, &str) -> io::Result<()> {
    let mut times = 0;
    move |path, text| {
        times += 1;
        if times > most {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut now = form.parse(&fs::read_to_string(path)?).unwrap();
        let (word, vlans) = text.split_once(' ').unwrap();
        let vlans = match form {
            Form::Mlx5 => set_of(&vlans.replace(' ', "-")),
            Form::Vfd => set_of(vlans),
        };
        match word {
            "add" => now.0.extend(&vlans.0),
            "rem" => now = now.without(&vlans),
            other => panic!("{other}"),
        }
        // Neither prints anything of nothing.
        fs::write(path, if now.0.is_empty() { String::new() } else { form.print(&now) + "\n" })
    }
}

#[test]
fn each_driver_is_read_and_told_in_its_own_form() {
    let mlx5 = node("mlx5_core", "Allowed 802.1Q VLANs: 10 11 12 20\n");
    let (now, wanted) = (set_of("10-12,20"), set_of("11-13,30-31"));
    assert_eq!(trunk_before(&mlx5.1, mlx5.2, &wanted).unwrap(), now);
    assert_eq!(Form::Mlx5.told(&now, &wanted), ["add 13 13", "add 30 31", "rem 10 10", "rem 20 20"]);
    for driver in ["i40e", "ice"] {
        let intel = node(driver, "10-12,20\n");
        assert_eq!(trunk_before(&intel.1, intel.2, &wanted).unwrap(), now);
    }
    assert_eq!(Form::Vfd.told(&now, &wanted), ["add 13,30-31", "rem 10,20"]);
    for form in [Form::Mlx5, Form::Vfd] {
        assert_eq!(form.told(&now, &now), [""; 0]);
        assert_eq!(form.told(&VlanSet::default(), &VlanSet::default()), [""; 0]);
    }
}

/// There and back, killed after each time that the driver was told something; and again, which changes nothing.
#[test]
fn what_was_before_comes_back_from_wherever_a_kill_left_it() {
    for (driver_name, form) in [("mlx5_core", Form::Mlx5), ("ice", Form::Vfd)] {
        for (before, wanted) in [("", "100-102,300"), ("7,9", "8,100"), ("7-20", "9,11")] {
            let (before, wanted) = (set_of(before), set_of(wanted));
            let most = form.told(&before, &wanted).len();
            for kill in 0..=most {
                let (_tree, sysfs, pf) = node(driver_name, "");
                let file = File::of(&sysfs, pf).unwrap();
                file.put(&before, driver(form, usize::MAX)).unwrap();
                let set = file.put(&wanted, driver(form, kill));
                assert_eq!(set.is_ok(), kill == most, "{set:?}");
                // Only the aim itself may be no list at all.
                assert_eq!(file.read().unwrap().0.is_empty(), before.0.is_empty() && kill == 0);
                for _ in 0..2 {
                    file.put(&before, driver(form, usize::MAX)).unwrap();
                    assert_eq!(file.read().unwrap(), before);
                }
            }
        }
    }
}

#[test]
fn what_could_not_be_put_back_is_not_begun() {
    let wanted = set_of("100");
    let refused = |(_tree, sysfs, pf): (Tree, Sysfs, Pf), wanted: &VlanSet| {
        trunk_before(&sysfs, pf, wanted).unwrap_err().to_string()
    };
    let none = refused(node("igb", ""), &wanted);
    assert!(none.starts_with("the PF's driver igb keeps no list of VLANs for a VF ("), "{none}");
    let (tree, sysfs, pf) = node("mlx5_core", "");
    let other = Pf { vf: 0, ..pf };
    assert!(matches!(trunk_before(&sysfs, other, &wanted), Err(TrunkError::Missing { .. })));
    // The list went with the driver that kept it.
    restore(&sysfs, other, &wanted).unwrap();
    drop(tree);
    for (driver, text) in [("mlx5_core", "10-12"), ("i40e", "Allowed 802.1Q VLANs: 10"), ("ice", "on")] {
        let odd = refused(node(driver, text), &wanted);
        assert!(odd.contains(&format!("has {text:?}, which is no list as {driver} writes them")), "{odd}");
    }
    // mlx5 tells each VLAN, and ends with the page.
    let long = VlanSet::of([1..=4094]);
    let full = Form::Mlx5.print(&long)[..PAGE].to_owned();
    assert!(refused(node("mlx5_core", &full), &wanted).contains("more VLANs than the driver can tell"));
    assert!(refused(node("mlx5_core", ""), &long).contains("more VLANs than the driver can tell"));
    let (_tree, sysfs, pf) = node("ice", "");
    assert_eq!(trunk_before(&sysfs, pf, &long).unwrap(), VlanSet::default());
    let odd = VlanSet((1..4094).step_by(2).collect());
    assert!(matches!(trunk_before(&sysfs, pf, &odd), Err(TrunkError::Long { .. })));
}

#[test]
fn a_driver_that_takes_it_otherwise_is_told_of() {
    let (_tree, sysfs, pf) = node("ice", "5\n");
    let file = File::of(&sysfs, pf).unwrap();
    let error = file.put(&set_of("7"), |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.ends_with("the list is \"5\", wanted \"7\""), "{error}");
}
