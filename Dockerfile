# docker build --tag nordiq-watch .      docs/installation.md says how to run it
FROM python:3.11-slim-bookworm AS build
# For the parts in C++, which make forecasts and feeds fast. Debian's own updates are wanted, so no version is named.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/nordiq-watch
ENV PATH=/opt/nordiq-watch/bin:$PATH
WORKDIR /source
# As `make` does it: torch first, from the index that has the wanted build, then what else is pinned, then the program.
COPY requirements.txt ./
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --index-url "$TORCH_INDEX" "$(grep -o '^torch==[^ ]*' requirements.txt)"
RUN pip install --requirement requirements.txt
COPY pyproject.toml setup.py MANIFEST.in README.md config.yaml ./
COPY systemd systemd
COPY nordiq_watch nordiq_watch
RUN pip install --no-deps .

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 nordiq-watch \
    && useradd --uid 10001 --gid 10001 --no-log-init --home-dir /var/lib/nordiq-watch --no-create-home nordiq-watch \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/nordiq-watch
COPY --from=build /opt/nordiq-watch /opt/nordiq-watch
ENV PATH=/opt/nordiq-watch/bin:$PATH
# The world of a container is its own network: who may come in is decided where the port is published.
ENV NORDIQ_SERVER__HOST=0.0.0.0
USER 10001:10001
# config.yaml (if there is one), models, state, logs and the keys.
WORKDIR /var/lib/nordiq-watch
VOLUME /var/lib/nordiq-watch
EXPOSE 8000
HEALTHCHECK --start-period=60s --timeout=10s CMD ["python", "-c", "import http.client, sys; \
http = http.client.HTTPConnection('127.0.0.1', 8000, timeout=5); http.request('GET', '/health'); \
sys.exit(http.getresponse().status != 200)"]
# No shell in between: the daemon itself gets SIGTERM from `docker stop`, and SIGHUP from `docker kill --signal HUP`.
ENTRYPOINT ["nordiq-watch"]
CMD ["serve"]
