"""Manifests of CI systems: which keys they define, and the shell that they run.

Each reader takes a manifest and gives its `Job`s, in order. A key that the system does not define
is an `AssertionError`. The tables have what the systems' references define, cited with each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Job:
    """Lines that run in one shell."""

    shell: tuple[str, ...]
    """The command that runs the script, which is its last argument."""

    script: str
    environment: Mapping[str, str]
    """What the manifest sets to plain values; secrets are not among them."""

    secrets: frozenset[str] = frozenset()
    """The names that the system would fill from its own store."""


def known(given: Iterable[str], defined: str) -> None:
    """Assert that all keys are among these words."""
    assert set(given) <= set(defined.split()), set(given) - set(defined.split())


# https://man.sr.ht/builds.sr.ht/manifest.md
SOURCEHUT = (
    "image arch packages repositories sources secrets environment tasks triggers artifacts shell "
    "oauth submitter"
)

# https://docs.gitlab.com/ci/yaml/: global keywords, and those of a job
GITLAB = "default include stages variables workflow spec"
GITLAB_NO_JOB = "image services stages before_script after_script variables cache include pages"
GITLAB_JOB = (
    "after_script allow_failure artifacts before_script cache coverage dast_configuration "
    "dependencies environment extends hooks identity id_tokens image inherit interruptible "
    "manual_confirmation needs pages parallel release resource_group retry rules run script "
    "secrets services stage tags timeout trigger variables when"
)

# https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
GITHUB = "name run-name on permissions env defaults concurrency jobs"
GITHUB_JOB = (
    "name permissions needs if runs-on snapshot environment concurrency outputs env defaults steps "
    "timeout-minutes strategy continue-on-error container services uses with secrets"
)
GITHUB_STEP = (
    "id if name uses run working-directory shell with env continue-on-error timeout-minutes"
)

# https://forgejo.org/docs/latest/user/actions/
FORGEJO = "name on env defaults concurrency jobs"
FORGEJO_JOB = (
    "name needs if runs-on env outputs defaults steps timeout-minutes strategy container services "
    "uses with secrets"
)

# https://circleci.com/docs/configuration-reference/
CIRCLECI = "version setup orbs commands parameters executors jobs workflows"
CIRCLECI_JOB = (
    "docker machine macos executor shell parameters steps working_directory parallelism "
    "environment resource_class circleci_ip_ranges"
)
CIRCLECI_RUN = "name command shell environment background working_directory no_output_timeout when"
CIRCLECI_WORKFLOW_JOB = "context filters matrix name post-steps pre-steps requires type"

# https://buildkite.com/docs/pipelines/configure/step-types/command-step, and for what is not in a
# step https://buildkite.com/docs/sdk/typescript/interfaces/BuildkitePipeline.html
BUILDKITE = "agents env image notify secrets steps"
BUILDKITE_STEP = (
    "command commands agents allow_dependency_failure artifact_paths branches cache "
    "cancel_on_build_failing concurrency concurrency_group concurrency_method depends_on env if "
    "if_changed image key label matrix notify parallelism plugins priority retry secrets "
    "signature skip soft_fail timeout_in_minutes"
)

# https://woodpecker-ci.org/docs/usage/workflow-syntax
WOODPECKER = (
    "when steps services workspace matrix labels variables clone skip_clone depends_on runs_on"
)
WOODPECKER_STEP = (
    "name image pull commands entrypoint environment failure when depends_on volumes detach "
    "directory backend_options settings privileged dns dns_search"
)

# https://www.jenkins.io/doc/book/pipeline/syntax/
JENKINS = "pipeline agent environment options parameters triggers tools stages stage steps post"


def sourcehut(text: str) -> list[Job]:
    """A builds.sr.ht manifest."""
    told = yaml.safe_load(text)
    known(told, SOURCEHUT)
    assert {"image", "tasks"} <= set(told)
    jobs = []
    for task in told["tasks"]:
        ((name, script),) = task.items()
        assert re.fullmatch(r"[a-z0-9_-]{1,128}", name)
        # "run with the following preamble: #!/usr/bin/env bash, . ~/.buildenv, set -x, set -e"
        jobs.append(Job(("bash", "-xec"), script, told["environment"]))
    return jobs


def gitlab(text: str) -> list[Job]:
    """A .gitlab-ci.yml."""
    told = yaml.safe_load(text)
    jobs = []
    for name, job in told.items():
        if name in GITLAB.split() or name.startswith("."):
            continue
        assert name not in GITLAB_NO_JOB.split()
        known(job, GITLAB_JOB)
        assert job["script"]
        # Nested lists are one list (keyword reference, `before_script`, up to 10 levels).
        lines = [*_flat(job.get("before_script", [])), *_flat(job["script"])]
        job_script = "\n".join(lines)
        secrets = frozenset({"CACHER_KEY_FILE", "CACHER_SECRET_FILE"})
        variables = told["variables"] | job.get("variables", {})
        jobs.append(Job(("sh", "-ec"), job_script, variables, secrets))
    return jobs


def _flat(lines: list[Any]) -> list[str]:
    return [one for line in lines for one in (_flat(line) if isinstance(line, list) else [line])]


def github(text: str) -> list[Job]:
    """A workflow of GitHub Actions."""
    return _actions(text, GITHUB, GITHUB_JOB)


def forgejo(text: str) -> list[Job]:
    """A workflow of Forgejo Actions."""
    return _actions(text, FORGEJO, FORGEJO_JOB)


def _actions(text: str, defined: str, defined_in_jobs: str) -> list[Job]:
    told = yaml.safe_load(text)
    known(("on" if name is True else name for name in told), defined)  # YAML 1.1: on is true
    jobs = []
    for job in told["jobs"].values():
        known(job, defined_in_jobs)
        assert job["runs-on"]
        plain, secrets = _split(job["env"], r"\$\{\{ secrets\.([A-Z0-9_]+) \}\}")
        for step in job["steps"]:
            known(step, GITHUB_STEP)
            assert ("uses" in step) != ("run" in step)
            if "run" in step:
                jobs.append(Job(("bash", "-ec"), step["run"], plain, secrets))
    return jobs


def woodpecker(text: str) -> list[Job]:
    """A workflow of Woodpecker."""
    told = yaml.safe_load(text)
    known(told, WOODPECKER)
    jobs = []
    for step in told["steps"]:
        known(step, WOODPECKER_STEP)
        assert step["name"] and step["image"]
        secrets = frozenset(k for k, v in step["environment"].items() if isinstance(v, dict))
        assert all({*step["environment"][name]} == {"from_secret"} for name in secrets)
        plain = {k: v for k, v in step["environment"].items() if k not in secrets}
        jobs.append(Job(("sh", "-ec"), "\n".join(step["commands"]), plain, secrets))
    return jobs


def circleci(text: str) -> list[Job]:
    """A .circleci/config.yml, whose contexts hold the credentials."""
    told = yaml.safe_load(text)
    known(told, CIRCLECI)
    assert told["version"] == 2.1
    jobs = []
    for workflow in told["workflows"].values():
        known(workflow, "jobs triggers unless when")
        for listed in workflow["jobs"]:
            ((name, options),) = listed.items()
            known(options, CIRCLECI_WORKFLOW_JOB)
            assert options["context"]
            job = told["jobs"][name]
            known(job, CIRCLECI_JOB)
            assert len({"docker", "machine"} & set(job)) == 1
            secrets = frozenset({"CACHER_S3_KEY_ID", "CACHER_S3_SECRET"})
            for step in _circleci_steps(job["steps"], told["commands"]):
                known(step, CIRCLECI_RUN)
                shell = ("bash", "-eo", "pipefail", "-c")  # "Default shell options"
                jobs.append(Job(shell, step["command"], job["environment"], secrets))
    return jobs


def _circleci_steps(steps: list[Any], commands: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The `run` steps, those of commands among them; no value has a parameter."""
    found: list[Mapping[str, Any]] = []
    for step in steps:
        if isinstance(step, dict):
            ((kind, run),) = step.items()
            assert kind == "run"
            assert "<<" not in run["command"]
            found.append(run)
        elif step != "checkout":
            known(commands[step], "description parameters steps")
            found += _circleci_steps(commands[step]["steps"], commands)
    return found


def buildkite(text: str) -> list[Job]:
    """A .buildkite/pipeline.yml, as the agent fills it in when it uploads it."""
    told = yaml.safe_load(text)
    known(told, BUILDKITE)
    jobs = []
    for step in told["steps"]:
        known(step, BUILDKITE_STEP)
        assert not re.search(r"(?<!\$)\$(?!\$)", step["command"]), "filled in at the upload"
        script = step["command"].replace("$$", "$")
        jobs.append(Job(("bash", "-ec"), script, told["env"], frozenset(told["secrets"])))
    return jobs


def jenkins(text: str) -> list[Job]:
    """A declarative Jenkinsfile."""
    scripts = re.findall(r"\bsh (?:'''(.*?)'''|'([^'\n]*)')", text, re.DOTALL)
    rest = re.sub(r"'''.*?'''|'[^'\n]*'", "''", text, flags=re.DOTALL)
    depth = 0
    for sign in re.findall("[{}]", rest):
        depth += 1 if sign == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert rest.count("(") == rest.count(")")
    known(re.findall(r"^\s*(\w+)(?:\(''\))? \{", rest, re.MULTILINE), JENKINS)
    assert rest.count("sh '") == len(scripts)
    assert set(re.findall(r"\b(\w+) ''$", rest, re.MULTILINE)) == {"sh"}
    values = dict(re.findall(r"^\s*([A-Z0-9_]+) = (.*)$", text, re.MULTILINE))
    plain, secrets = _split(values, r"credentials\('([a-z0-9-]+)'\)")
    plain = {name: value.strip("'") for name, value in plain.items()}
    return [Job(("sh", "-xec"), long or short, plain, secrets) for long, short in scripts]


def plain_shell(text: str) -> list[Job]:
    """A script."""
    return [Job(("sh", "-c"), text, {})]


def _split(values: Mapping[str, str], secret: str) -> tuple[dict[str, str], frozenset[str]]:
    """Plain values, and the names of those that are secrets."""
    secrets = frozenset(name for name, value in values.items() if re.fullmatch(secret, value))
    return {name: value for name, value in values.items() if name not in secrets}, secrets
