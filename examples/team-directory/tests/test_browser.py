"""The example in a real browser (Chromium), beside a real `rollcall dev`. ROLLCALL_BIN is the built program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rollcall_client import Rollcall
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

EXAMPLE = Path(__file__).resolve().parents[1]
ADMINISTRATOR = "break-glass@demo.invalid"
SECONDS = 10


class Running:
    """`rollcall dev` and the example."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        with self.log.open("wb") as log:
            command = [os.environ["ROLLCALL_BIN"], "dev", "--json", "--in-memory", "--port", "0"]
            self.rollcall = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
            self.line = json.loads(self.first_line(self.rollcall))
            environment = {
                **os.environ,
                "ROLLCALL_APP_URL": self.line["app_url"],
                "ROLLCALL_APPLICATION_KEY": self.line["application_key"],
                "ROLLCALL_SCIM_URL": self.line["base_url"],
                "DATABASE_FILE": str(folder / "directory.db"),
                "PORT": "0",
            }
            program = [sys.executable, str(EXAMPLE / "app.py")]
            self.example = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=log)
            self.url = self.first_line(self.example).strip()

    def first_line(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout
        line = process.stdout.readline().decode()
        assert line, self.log.read_text()
        return line

    def scim(self, key: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/scim+json"}
        answer = httpx.request(method, self.line["base_url"] + path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def arrive(self, key: str, name: str, shown: str) -> str:
        person = {"givenName": "Barbara", "familyName": "Jensen"}
        emails = [{"value": name, "primary": True}]
        body = {"userName": name, "name": person, "displayName": shown, "emails": emails}
        return str(self.scim(key, "POST", "/Users", body)["id"])

    def stop(self) -> None:
        for process in (self.example, self.rollcall):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started = Running(tmp_path_factory.mktemp("example"))
    yield started
    started.stop()


@pytest.fixture
def open_browser(running: Running) -> Iterator[Callable[[str], webdriver.Chrome]]:
    """Opens a browser of its own and logs in."""
    browsers: list[webdriver.Chrome] = []
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert program and driver, "Install the browser: apt-get install chromium chromium-driver"

    def open_one(name: str) -> webdriver.Chrome:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        browsers.append(browser)
        log_in(browser, running.url, name)
        return browser

    yield open_one
    for browser in browsers:
        browser.quit()


def log_in(browser: webdriver.Chrome, url: str, name: str) -> None:
    browser.get(url)
    field = browser.find_element(By.NAME, "name")
    field.clear()
    field.send_keys(name)
    field.submit()
    # Another page that is opened before the answer is there would end the request.
    WebDriverWait(browser, SECONDS).until(staleness_of(field))


def wait_for(browser: webdriver.Chrome, check: Callable[[], Any], what: str) -> Any:
    return WebDriverWait(browser, SECONDS, poll_frequency=0.1, ignored_exceptions=[Exception]).until(lambda _: check(), what)


def row(browser: webdriver.Chrome, user: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, f'tr[data-user="{user}"]').text


def page(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "main").text


def make_key(browser: webdriver.Chrome, running: Running) -> str:
    """Makes a key on the settings page, and returns it as the page shows it."""

    def field_of_page() -> Any:
        browser.get(running.url + "settings")
        return browser.find_element(By.NAME, "name")

    # The mirror may be some seconds behind, and then the page says that it is not ready.
    field = wait_for(browser, field_of_page, "the settings page")
    field.send_keys("Okta")
    field.submit()
    return str(wait_for(browser, lambda: browser.find_element(By.ID, "key").text, "the key is shown"))


def test_a_person_arrives_changes_role_and_leaves(running: Running, open_browser: Any) -> None:
    administrator = open_browser(ADMINISTRATOR)
    key = make_key(administrator, running)
    made = page(administrator)
    for label in ("SCIM connector base URL", "Authorization (Bearer)", "Tenant URL", "Secret token"):
        assert label in made
    assert administrator.find_element(By.ID, "scim-url").text == running.line["base_url"]

    administrator.get(running.url)
    user = running.arrive(key, "bjensen@example.com", "Barbara Jensen")
    wait_for(administrator, lambda: "Barbara Jensen" in row(administrator, user), "the person arrives")
    assert "active" in row(administrator, user)

    group = running.scim(key, "POST", "/Groups", {"displayName": "Readers", "members": [{"value": user}]})["id"]
    wait_for(administrator, lambda: "member in Readers" in row(administrator, user), "a membership gives a role")
    with Rollcall(running.line["app_url"], running.line["application_key"]) as rollcall:
        rollcall.replace_assignments("demo", group, [{"team": group, "role": "reviewer"}])
    wait_for(administrator, lambda: "reviewer in Readers" in row(administrator, user), "an assignment changes the role")
    assert "member in Readers" not in row(administrator, user)

    person = open_browser("BJensen@Example.COM")  # user names compare without case
    wait_for(person, lambda: "Barbara Jensen" in row(person, user), "the person is logged in")
    person.get(running.url + "settings")
    assert "Only administrators" in page(person)
    person.get(running.url)

    deactivate = {"op": "Replace", "path": "active", "value": "False"}
    operation = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [deactivate]}
    running.scim(key, "PATCH", f"/Users/{user}", operation)
    wait_for(administrator, lambda: "deactivated" in row(administrator, user), "the page shows that the person left")
    assert "reviewer" not in row(administrator, user)
    wait_for(person, lambda: "Your account was deactivated" in page(person), "the open page ends with the account")
    log_in(person, running.url, "BJensen@Example.com")
    assert "does not exist or is deactivated" in page(person)
    person.get(running.url)
    assert person.current_url.endswith("/log-in")


def test_any_user_name_can_log_in(running: Running, open_browser: Any) -> None:
    """An input of the type `email` refuses the first name, and changes the second one."""
    administrator = open_browser(ADMINISTRATOR)
    for name in ("jörg@example.com", "anna@münchen.example"):
        user = running.arrive(running.line["key"], name, "Someone")
        wait_for(administrator, lambda: name in row(administrator, user), "the person arrives")
        person = open_browser(name)
        wait_for(person, lambda: name in row(person, user), "the person is logged in")


def test_what_an_identity_provider_sends_is_shown_as_text(running: Running, open_browser: Any) -> None:
    administrator = open_browser(ADMINISTRATOR)
    script = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    user = running.arrive(running.line["key"], "script@example.com", script)
    wait_for(administrator, lambda: script in row(administrator, user), "the name is text")
    administrator.get(running.url)
    assert script in row(administrator, user) and administrator.title == "Members"


def test_a_form_of_another_page_is_refused(running: Running, open_browser: Any) -> None:
    administrator = open_browser(ADMINISTRATOR)
    cookies = {cookie["name"]: cookie["value"] for cookie in administrator.get_cookies()}
    for token in ({}, {"csrf": "guess"}):
        answer = httpx.post(running.url + "settings/keys", data={"name": "stolen", **token}, cookies=cookies)
        assert answer.status_code == 400
    with Rollcall(running.line["app_url"], running.line["application_key"]) as rollcall:
        assert "stolen" not in [key["name"] for key in rollcall.keys("demo")]


def test_a_key_can_be_revoked_and_no_secret_is_logged(running: Running, open_browser: Any) -> None:
    administrator = open_browser(ADMINISTRATOR)
    key = make_key(administrator, running)
    administrator.get(running.url + "settings")
    assert key not in administrator.page_source
    revoke = administrator.find_elements(By.XPATH, "//tr[td='Okta']//button")
    revoke[-1].click()
    wait_for(administrator, lambda: "revoked" in page(administrator), "the key is revoked")
    log = running.log.read_text()
    for secret in (key, running.line["application_key"], running.line["key"], "bjensen", "csrf"):
        assert secret not in log
