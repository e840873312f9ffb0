"""A page of your own on top of the daemon: what is live, who is at risk, and the reload button.

pip install streamlit
export NORDIQ_API_KEY=$(head -n 1 .nordiq_key)
streamlit run examples/streamlit_app.py
"""

from __future__ import annotations

import os

import streamlit

from nordiq_watch.client import Client, ClientError, FleetForecast, Reload, ReloadFailed

SHOWN_SERVERS = 20


def main() -> None:
    streamlit.set_page_config(page_title="nordiq_watch", page_icon="📈")
    streamlit.title("nordiq_watch")
    url = os.environ.get("NORDIQ_URL", "http://127.0.0.1:8000")
    with Client(url, key=os.environ.get("NORDIQ_API_KEY"), retries=1) as watch:
        try:
            show_model(watch)
            show_forecast(watch.predictions())
        except ClientError as error:
            streamlit.error(str(error))


def show_model(watch: Client) -> None:
    """What is live, and the button that reloads. Its outcome is shown with what is live afterwards."""
    if streamlit.button("Reload latest", type="primary"):
        reload_latest(watch)
    info = watch.model_info()
    if not info.loaded:
        streamlit.info("No model is live yet. Train one: `nordiq-watch train --dataset data/`")
        return
    left, right = streamlit.columns([3, 1])
    left.metric("Live", info.model_name)
    right.metric("Generation", info.generation)
    if info.pinned:
        streamlit.caption("Pinned: newer versions wait.")


def reload_latest(watch: Client) -> None:
    """Asks for the newest version and shows its stages as they pass."""
    with streamlit.status("Reloading …") as status:
        told: set[str] = set()

        def tell(reload: Reload) -> None:
            for stage in reload.stages:
                if stage.name not in told:
                    told.add(stage.name)
                    streamlit.write(f"{stage.name}: {stage.seconds:.3f} s")

        try:
            reload = watch.wait_for_reload(watch.reload(wait=False).id, progress=tell)
        except ReloadFailed as failure:
            status.update(label=f"Not loaded: {failure.reason}", state="error")
        else:
            words = "is live" if reload.outcome == "loaded" else "was live already"
            status.update(label=f"{reload.current_model} {words}", state="complete")


def show_forecast(forecast: FleetForecast) -> None:
    if forecast.error:
        streamlit.info(forecast.message)
        return
    worst = sorted(forecast.servers.items(), key=lambda item: -(item[1].risk_score or 0))[:SHOWN_SERVERS]
    streamlit.subheader("At risk first")
    streamlit.dataframe(
        [
            {"server": name, "profile": server.profile, "level": server.level, "risk": server.risk_score}
            for name, server in worst
        ],
        hide_index=True,
    )
    name = streamlit.selectbox("Server", [name for name, _ in worst])
    metrics = {metric: one for metric, one in forecast.servers[name].metrics.items() if one.is_forecast}
    metric = streamlit.selectbox("Metric", list(metrics))
    one = metrics[metric]
    streamlit.line_chart({"p10": one.p10, "p50": one.p50, "p90": one.p90}, y_label=metric, x_label="steps ahead")


main()
