"""The pins of `tests/versions.toml`: prints one (`pins.py kafka.version`), or checks that the
lock files
repeat them (`pins.py --check`)."""

import json
import pathlib
import sys
import tomllib

TESTS = pathlib.Path(__file__).resolve().parent.parent


def load():
    return tomllib.loads((TESTS / "versions.toml").read_text())


def disagreements(pins):
    """Every pin that the file of its language does not repeat, as a sentence."""
    clients = TESTS / "clients"
    requirements = (clients / "python/requirements.txt").read_text().split()
    for name, version in pins["python"].items():
        if f"{name}=={version}" not in requirements:
            yield f"requirements.txt does not have {name} {version}"
    locked = json.loads((clients / "js/package-lock.json").read_text())["packages"]
    for name, version in pins["node"].items():
        if locked[f"node_modules/{name}"]["version"] != version:
            yield f"package-lock.json does not have {name} {version}"
    modules = (clients / "go/go.mod").read_text()
    for name, version in pins["go"].items():
        if f"{name} v{version}\n" not in modules:
            yield f"go.mod does not have {name} {version}"
    packages = tomllib.loads((clients / "rust-kinesis/Cargo.lock").read_text())["package"]
    for name, version in pins["rust"].items():
        if not any(
            package["name"] == name and package["version"] == version for package in packages
        ):
            yield f"rust-kinesis/Cargo.lock does not have {name} {version}"


def main():
    pins = load()
    if sys.argv[1:] == ["--check"]:
        problems = list(disagreements(pins))
        print("\n".join(problems), file=sys.stderr)
        sys.exit(1 if problems else 0)
    for name in sys.argv[1:]:
        section, key = name.split(".", 1)
        value = pins[section][key]
        print(" ".join(value) if isinstance(value, list) else value)


if __name__ == "__main__":
    main()
