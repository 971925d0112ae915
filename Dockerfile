# imagegate in an image. Everything that is installed is pinned by hash: requirements.lock, and deploy/build.lock for
# what builds the wheel. With IMAGEGATE_DATABASE_URL it starts no PostgreSQL of its own; without, the embedded one
# lives in the volume.

FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock deploy/build.lock ./
RUN python -m venv /opt/imagegate \
    && /opt/imagegate/bin/pip install --no-cache-dir --only-binary=:all: --require-hashes -r requirements.lock \
    && pip install --no-cache-dir --only-binary=:all: --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY src src
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /opt/imagegate/bin/pip install --no-cache-dir --no-deps --no-index /wheel/*.whl

FROM python:3.13-slim
# A fixed number, so that volumes and securityContext can name it.
RUN groupadd --gid 10001 imagegate \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/imagegate --shell /usr/sbin/nologin imagegate \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/imagegate
COPY --from=build /opt/imagegate /opt/imagegate
ENV PATH=/opt/imagegate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    IMAGEGATE_DATA_DIR=/var/lib/imagegate
USER 10001:10001
VOLUME /var/lib/imagegate
EXPOSE 8080
# /healthz tells of the process alone; what takes traffic away while the database is gone is /readyz.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["imagegate"]
CMD ["serve", "--host", "0.0.0.0"]
