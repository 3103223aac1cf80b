"""Does MLflow answer, to this name, to these credentials, in this version?"""

import os
from importlib.metadata import version

from pipeline.checks import Finding
from pipeline.errors import ConfigError
from pipeline.mlflow_run import SQLITE, mlflow_client, resolve_tracking_uri

TIMEOUT_S = 10.0


def check_tracking(uri: str | None) -> Finding:
    """Asks for the experiments, as every job does.

    Args:
        uri: As for `resolve_tracking_uri`.
    """
    try:
        uri = resolve_tracking_uri(uri)
    except ConfigError as error:
        return Finding(what="MLflow", good=False, told=str(error), advice="correct --tracking")
    what = f"MLflow {uri}" if "@" not in uri else "MLflow"
    if uri.startswith("http"):
        refusal = _refusal(uri)
        if refusal is not None:
            told, advice = refusal
            return Finding(what=what, good=False, told=told, advice=advice)
    from mlflow.exceptions import MlflowException

    try:
        names = [experiment.name for experiment in mlflow_client(uri).search_experiments(max_results=100)]
    except MlflowException as error:
        return Finding(
            what=what,
            good=False,
            told=str(error).partition("\n")[0][:200],
            advice="see the server's log" if uri.startswith("http") else "run `mlflow db upgrade` on it",
        )
    kind = "a file of this machine" if uri.startswith(SQLITE) else "a server"
    return Finding(what=what, good=True, told=f"{kind} with {len(names)} experiments")


def _refusal(uri: str) -> tuple[str, str] | None:
    """Why the server can't be used, and what to do; None where it can."""
    import requests

    try:
        login = _credentials()
        server = requests.get(f"{uri}/version", timeout=TIMEOUT_S, auth=login).text.strip()
        answer = requests.get(
            f"{uri}/api/2.0/mlflow/experiments/search?max_results=1", timeout=TIMEOUT_S, auth=login
        )
    except requests.RequestException as error:
        return f"nothing answers ({type(error).__name__})", "start it, or correct --tracking"
    if answer.status_code == 403 and "host" in answer.text.lower():
        host = uri.split("://", 1)[1].split("/", 1)[0]
        return "it refuses this name of itself", f"start it with --allowed-hosts {host} (and the other names)"
    if answer.status_code in (401, 403):
        return (
            f"it lets nobody in with these credentials ({answer.status_code})",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    if not answer.ok:
        return f"it answers with {answer.status_code}", "see the server's log"
    own = version("mlflow")
    if server.split(".")[0] != own.split(".")[0]:
        return f"it is MLflow {server}, this is {own}", "install the same major version on both sides"
    return None


def _credentials() -> tuple[str, str] | None:
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    user, password = (os.environ.get(name) for name in names)
    return (user, password) if user is not None and password is not None else None
